"""Values of libraries that tools are often written with: pydantic types in, pydantic models and NumPy values out.

pydantic is not a dependency. It is used, and imported, only if an annotation of a tool names one of its types.
"""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

__all__ = ["describe_strings", "encode_unknown", "pydantic_adapter", "validate"]


def encode_unknown(value: object) -> object:
    """Return a JSON form for a value that msgspec does not know: an `enc_hook` for its encoders.

    Raises:
        NotImplementedError: There is none.
    """
    if value is None or isinstance(value, bool | tuple):  # msgspec knows these, but not as keys of a dictionary
        return "" if value is None else str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Collection):  # a deque, a range, the keys of a dictionary
        return list(value)
    raise NotImplementedError(f"a {type(value).__name__} has no JSON form")


def describe_strings(hint: Any) -> Any:
    """Return an annotation in which plain strings are descriptions: `Annotated[str, "The name."]`."""
    if typing.get_origin(hint) is not Annotated:
        return hint
    base, *extras = typing.get_args(hint)
    meta = [msgspec.Meta(description=extra) if isinstance(extra, str) else extra for extra in extras]
    return Annotated[(base, *meta)]


def pydantic_adapter(hint: Any) -> Any:
    """Return the `TypeAdapter` for an annotation that names a type or field of pydantic; None for any other."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        return None
    field_info, is_pydantic_dataclass = pydantic.fields.FieldInfo, pydantic.dataclasses.is_pydantic_dataclass
    for part in _parts(hint):
        if isinstance(part, field_info) or hasattr(part, "__get_pydantic_core_schema__") or is_pydantic_dataclass(part):
            return pydantic.TypeAdapter(hint)
    return None


def validate(adapter: Any, name: str, value: object) -> object:
    """Convert an argument to the type of a parameter that pydantic describes.

    Args:
        adapter: The result of `pydantic_adapter` for the parameter.
        name: Name of the parameter, for errors.
        value: The argument, decoded from JSON.

    Raises:
        ValueError: It does not fit; the message names the field.
    """
    try:
        return adapter.validate_json(msgspec.json.encode(value))
    except sys.modules["pydantic"].ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"`{'.'.join(map(str, (name, *first['loc'])))}`: {first['msg']}") from None


def _parts(hint: Any) -> Iterator[Any]:
    """Yield an annotation and all annotations inside of it."""
    yield hint
    for part in typing.get_args(hint):
        yield from _parts(part)
