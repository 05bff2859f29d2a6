"""What does a session cost over each transport? `websocket.py` and `webrtc.py` in turn, each beside its own floor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["EACH"]

EACH = ("websocket", "webrtc")

if __name__ == "__main__":
    for name in EACH:
        subprocess.run([sys.executable, Path(__file__).with_name(f"{name}.py"), *sys.argv[1:]], check=True)
