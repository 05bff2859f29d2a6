"""The inside of the engine, for code that extends Bargein: services, transports, test kits.

Applications do not need this module. It is public and stable, like `trio.lowlevel`.
"""

from __future__ import annotations

from ._backend import on_trio
from ._cancellation import CancellationIgnored, run_cancellable
from ._checks import check_instance, check_not_negative, check_positive, unwrap_exception
from ._contract import Contract, ProcessorKind
from ._deadline import catch_up, stood_still, wait_at_most
from ._extras import import_extra
from ._fields import CheckedFields
from ._options import check_options
from ._samples import SECOND, Samples, ns, samples_in
from ._wakeup import Wakeup
from ._worker import Worker, at_work
from .processor import as_processor

__all__ = [
    "SECOND",
    "CancellationIgnored",
    "CheckedFields",
    "Contract",
    "ProcessorKind",
    "Samples",
    "Wakeup",
    "Worker",
    "as_processor",
    "at_work",
    "catch_up",
    "check_instance",
    "check_not_negative",
    "check_options",
    "check_positive",
    "import_extra",
    "ns",
    "on_trio",
    "run_cancellable",
    "samples_in",
    "stood_still",
    "unwrap_exception",
    "wait_at_most",
]
