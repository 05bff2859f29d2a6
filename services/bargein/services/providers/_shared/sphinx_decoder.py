"""A decoder of PocketSphinx that releases the interpreter lock while it loads and decodes.

The Python class `pocketsphinx.Decoder` holds the lock: for half a second while it loads, in which the event loop of the
whole server stands still, and for every piece that it decodes. This module calls the same C library through ctypes,
which releases it. It relies on the C interface of PocketSphinx 5 (`pocketsphinx.h`), whose functions the extension
module of the Linux wheels exports. Where they are not exported, `make_decoder` returns the Python class.
`tests/services/providers/test_pocketsphinx.py` fails when both give different texts, or the functions are gone.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

__all__ = ["SphinxDecoder", "SphinxHypothesis", "make_decoder"]

_POINTER, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_FUNCTIONS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "ps_config_parse_json": (_POINTER, (_POINTER, _TEXT)),
    "ps_config_free": (_INT, (_POINTER,)),
    "ps_init": (_POINTER, (_POINTER,)),
    "ps_free": (_INT, (_POINTER,)),
    "ps_start_utt": (_INT, (_POINTER,)),
    "ps_end_utt": (_INT, (_POINTER,)),
    "ps_process_raw": (_INT, (_POINTER, _TEXT, ctypes.c_size_t, _INT, _INT)),
    "ps_get_hyp": (_TEXT, (_POINTER, _POINTER)),
    "ps_get_cmn": (_TEXT, (_POINTER, _INT)),
    "ps_set_cmn": (_INT, (_POINTER, _TEXT)),
    "ps_lookup_word": (_POINTER, (_POINTER, _TEXT)),
    "ps_add_word": (_INT, (_POINTER, _TEXT, _TEXT, _INT)),
    "ps_add_jsgf_string": (_INT, (_POINTER, _TEXT, _TEXT)),
    "ps_add_kws": (_INT, (_POINTER, _TEXT, _TEXT)),
    "ps_activate_search": (_INT, (_POINTER, _TEXT)),
    "ckd_free": (None, (_POINTER,)),
}
"""The functions of the C library that are used: what each returns and takes."""


class SphinxHypothesis(NamedTuple):
    """What was recognised so far."""

    hypstr: str
    """The words."""


class SphinxDecoder:
    """The methods of `pocketsphinx.Decoder` that are used here. Only one thread may use it at a time.

    Args:
        functions: The C library.
        config: The options as JSON.

    Raises:
        RuntimeError: The library refuses the options, or a file is missing.
    """

    def __init__(self, functions: ctypes.CDLL, config: str) -> None:
        self._c = functions
        self._decoder: int | None = None
        parsed = functions.ps_config_parse_json(None, config.encode())
        if not parsed:
            raise RuntimeError("the options cannot be read")
        self._decoder = functions.ps_init(parsed)
        functions.ps_config_free(parsed)  # the decoder holds it
        if not self._decoder:
            raise RuntimeError("the decoder cannot be initialised")

    def __del__(self) -> None:
        if self._decoder:
            self._c.ps_free(self._decoder)

    def _run(self, name: str, *arguments: Any) -> None:
        if getattr(self._c, name)(self._decoder, *arguments) < 0:
            raise RuntimeError(f"{name} failed")

    def start_utt(self) -> None:
        """Begin an utterance."""
        self._run("ps_start_utt")

    def end_utt(self) -> None:
        """End the utterance."""
        self._run("ps_end_utt")

    def process_raw(self, data: bytes) -> None:
        """Decode samples, 16 bits each."""
        self._run("ps_process_raw", data, len(data) // 2, 0, 0)

    def hyp(self) -> SphinxHypothesis | None:
        """Return what was recognised; None if nothing was."""
        words = self._c.ps_get_hyp(self._decoder, None)
        return None if words is None else SphinxHypothesis(words.decode())

    def get_cmn(self) -> str:
        """Return the cepstral mean."""
        return str(self._c.ps_get_cmn(self._decoder, 0).decode())

    def set_cmn(self, cepstral_mean: str) -> None:
        """Set the cepstral mean."""
        self._run("ps_set_cmn", cepstral_mean.encode())

    def lookup_word(self, word: str) -> str | None:
        """Return the pronunciation of a word; None if it is not in the dictionary."""
        found = self._c.ps_lookup_word(self._decoder, word.encode())
        if not found:
            return None
        try:
            return ctypes.string_at(found).decode()
        finally:
            self._c.ckd_free(found)

    def add_word(self, word: str, phones: str, update: bool) -> None:
        """Add a word to the dictionary."""
        self._run("ps_add_word", word.encode(), phones.encode(), int(update))

    def add_jsgf_string(self, name: str, grammar: str) -> None:
        """Add a grammar."""
        self._run("ps_add_jsgf_string", name.encode(), grammar.encode())

    def add_kws(self, name: str, path: str) -> None:
        """Add a file of key phrases."""
        self._run("ps_add_kws", name.encode(), path.encode())

    def activate_search(self, name: str) -> None:
        """Recognise by a grammar or key phrases that were added."""
        self._run("ps_activate_search", name.encode())


def make_decoder(library: Any, options: Mapping[str, Any]) -> Any:
    """Return a new decoder that releases the interpreter lock, or the library's own where that is not possible.

    Args:
        library: The module `pocketsphinx`.
        options: The options of the library, by its names.
    """
    functions = _find_functions()
    if functions is None:
        return library.Decoder(**options)
    # The library's own class completes the options, such as with the paths of its model, and refuses unknown ones.
    return SphinxDecoder(functions, library.Config(**options).dumps())


@cache
def _find_functions() -> ctypes.CDLL | None:
    """Return the C library with the types of its functions; None if it does not export them."""
    extension = importlib.import_module("_pocketsphinx")
    try:
        functions = ctypes.CDLL(extension.__file__)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(functions, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return functions
