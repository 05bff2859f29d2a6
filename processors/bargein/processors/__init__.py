"""Pure media and turn-taking steps. They import the engine only, and know no service."""

from .gain import Gain
from .meter import Level, Meter
from .pacer import Pacer
from .resample import Resample
from .tap import Tap

__all__ = ["Gain", "Level", "Meter", "Pacer", "Resample", "Tap"]
