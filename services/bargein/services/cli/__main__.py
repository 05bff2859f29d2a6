"""`python -m bargein.services.cli` is the program `bargein`."""

from __future__ import annotations

from bargein.services.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
