"""The engine's inside, for code that extends Bargein: services, transports, test kits.

Applications do not need this module. It is public and kept stable for those who write parts of an engine around the
engine, in the way of `trio.lowlevel`.
"""

from __future__ import annotations

from ._contract import Contract, ProcessorKind
from ._extras import import_extra
from ._host import on_trio
from ._leash import CancellationIgnored, run_cancellable
from ._options import check_options
from ._wakeup import Wakeup
from ._worker import Worker, at_work
from .processor import as_processor

__all__ = [
    "CancellationIgnored",
    "Contract",
    "ProcessorKind",
    "Wakeup",
    "Worker",
    "as_processor",
    "at_work",
    "check_options",
    "import_extra",
    "on_trio",
    "run_cancellable",
]
