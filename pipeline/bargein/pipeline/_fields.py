"""Errors for a wrong construction of a msgspec class that name the class and the nearest field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ._options import nearest

__all__ = ["CheckedFields", "UncheckedFields"]


class CheckedFields(msgspec.StructMeta):
    """The metaclass of structs that an application builds: frames, options, limits.

    msgspec's own errors name neither the class nor the nearest field. This metaclass lets msgspec build the object, and
    looks for the mistake only when that fails. Subclasses inherit it. Decoding, copying and `msgspec.structs.replace`
    bypass it.

    Example::

        class Limits(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
            max_sessions: int = 100

        Limits(max_sesions=5)  # TypeError: Limits(max_sesions=5): there is no such field; did you mean max_sessions=?
    """

    if not TYPE_CHECKING:  # pyright would take the result of `__call__` for that of every construction: `Any`

        def __call__(cls, *args: Any, **fields: Any) -> Any:  # noqa: N805 - a metaclass
            """Construct an object.

            Args:
                args: Values of the fields that are given by position.
                fields: Values of the other fields.

            Raises:
                TypeError: A field does not exist, a required one is missing, or a value needs its field's name.
            """
            try:
                return _build(cls, *args, **fields)
            except TypeError:
                if (mistake := _find_mistake(cls, args, fields)) is None:
                    raise  # from `__post_init__`, which has its own words for it
                # Raised below, outside of this block, so that msgspec's shorter error is not shown as its cause.
            raise TypeError(mistake)


_build: Final = msgspec.StructMeta.__call__
"""Kept in a global name: looking it up by `super()` would make every frame slower to build."""


class UncheckedFields(CheckedFields):
    """The metaclass of frames that are built for each few milliseconds of media. Their errors are msgspec's own.

    A class cannot have a metaclass above that of its base, so this one puts msgspec's call back in place.
    """

    __call__ = _build


def _find_mistake(cls: type[msgspec.Struct], args: tuple[object, ...], fields: dict[str, object]) -> str | None:
    """Return what is wrong with the arguments of a construction; None when all of them fit the class."""
    known, by_position = cls.__struct_fields__, cls.__match_args__
    for name, value in fields.items():
        if name not in known:
            # Texts are not shown: they may be keys or the user's words.
            shown = repr(value) if value is None or isinstance(value, int | float) else "..."
            return f"{cls.__name__}({name}={shown}): there is no such field; {nearest(name, known)}"
    if len(args) > len(by_position):
        takes = ", ".join(by_position) or "nothing"
        return f"{cls.__name__} takes {takes} by position, not {len(args)} values; write {cls.__name__}(field=...)"
    for name in by_position[: len(args)]:
        if name in fields:
            return f"{cls.__name__}() has its {name} twice: by position and by name"
    defaults = cls.__struct_defaults__
    required = len(known) - len(defaults)
    for at, name in enumerate(known):
        is_required = at < required or defaults[at - required] is msgspec.NODEFAULT
        if is_required and name not in fields and name not in by_position[: len(args)]:
            return f"{cls.__name__}() lacks its {name}; write {cls.__name__}({name}=...)"
    return None
