"""Errors for a wrong construction of a msgspec class that name the class and the nearest field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ._options import nearest

__all__ = ["CheckedFields"]


class CheckedFields(msgspec.StructMeta):
    """The metaclass of structs that people write by hand: options, limits, and frames that an application sends.

    msgspec's own errors name neither the class nor the nearest field. This check makes a construction ten times as
    slow, so frames of media and text, of which there are many a second, go without it. Decoding, copying and
    `msgspec.structs.replace` bypass it.

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
            known, by_position = cls.__struct_fields__, cls.__match_args__
            for name, value in fields.items():
                if name not in known:
                    # Texts are not shown: they may be keys or the user's words.
                    shown = repr(value) if value is None or isinstance(value, int | float) else "..."
                    hint = nearest(name, known)
                    raise TypeError(f"{cls.__name__}({name}={shown}): there is no such field; {hint}")
            if len(args) > len(by_position):
                takes = ", ".join(by_position) or "nothing"
                raise TypeError(
                    f"{cls.__name__} takes {takes} by position, not {len(args)} values; write {cls.__name__}(field=...)"
                )
            defaults = cls.__struct_defaults__
            required = len(known) - len(defaults)
            for at, name in enumerate(known):
                is_required = at < required or defaults[at - required] is msgspec.NODEFAULT
                if is_required and name not in fields and name not in by_position[: len(args)]:
                    raise TypeError(f"{cls.__name__}() lacks its {name}; write {cls.__name__}({name}=...)")
            return super().__call__(*args, **fields)
