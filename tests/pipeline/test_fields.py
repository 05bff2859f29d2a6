"""A wrong field of an option class or of a frame is reported with the class and the nearest field."""

from __future__ import annotations

import copy

import msgspec
import pytest

from bargein.pipeline import Audio, Failure, Frame, Image, Played, Text, ToolCall, ToolResult, UserText, Video
from bargein.pipeline.frames import Interrupt
from bargein.pipeline.lowlevel import CheckedFields
from bargein.processors import Commit
from bargein.services.frames import Configure, Remember, Respond, Say
from bargein.services.history import Entry
from bargein.services.providers.nova import Credentials
from bargein.services.providers.openai import Faults, Limits
from bargein.services.realtime import Profile, ReconnectPolicy
from bargein.services.sockets import Endpoint
from bargein.services.transports import SessionLimits
from bargein.services.transports.webrtc import IceServer


class Options(msgspec.Struct, metaclass=CheckedFields, frozen=True):
    name: str
    share: float = 0.5
    sizes: list[int] = []


class More(Options, frozen=True, kw_only=True):
    key: str
    limit: int | None = 3


def test_a_right_construction_gives_what_msgspec_gives() -> None:
    assert Options("a", 0.25) == Options(name="a", share=0.25)
    more = More("a", key="k", limit=None)
    assert (more.name, more.share, more.sizes, more.key, more.limit) == ("a", 0.5, [], "k", None)
    assert Options("a").sizes is not Options("a").sizes
    assert copy.copy(more) == msgspec.structs.replace(more, share=0.5) == more
    assert msgspec.json.decode(msgspec.json.encode(more), type=More) == more


@pytest.mark.parametrize(
    ("kind", "values", "fields", "message"),
    [
        (Options, "a", {"shar": 0.25}, "Options(shar=0.25): there is no such field; did you mean share=?"),
        (Options, "a", {"k": None}, "Options(k=None): there is no such field; the options are name, share, sizes"),
        (More, "a", {"kye": "secret"}, "More(kye=...): there is no such field; did you mean key=?"),
        (Options, "", {}, "Options() lacks its name; write Options(name=...)"),
        (More, "a", {}, "More() lacks its key; write More(key=...)"),
        (Options, "abcd", {}, "Options takes name, share, sizes by position, not 4 values; write Options(field=...)"),
        (
            SessionLimits,
            "a",
            {},
            "SessionLimits takes nothing by position, not 1 values; write SessionLimits(field=...)",
        ),
        (UserText, "a", {"item": "x"}, "UserText(item=...): there is no such field; did you mean item_id=?"),
    ],
)
def test_a_wrong_construction_names_the_class_and_the_field(
    kind: type[msgspec.Struct], values: str, fields: dict[str, object], message: str
) -> None:
    """Numbers are shown. Texts are not, since they may be keys or the user's words."""
    with pytest.raises(TypeError) as raised:
        kind(*values, **fields)
    assert str(raised.value) == message


WRITTEN_BY_HAND = [
    *(SessionLimits, ReconnectPolicy, Profile, IceServer, Limits, Faults, Credentials, Endpoint, Entry),
    *(UserText, ToolCall, ToolResult, Failure, Image, Commit, Configure, Respond, Say, Remember),
]


@pytest.mark.parametrize("kind", WRITTEN_BY_HAND)
def test_what_people_write_by_hand_is_checked(kind: type[msgspec.Struct]) -> None:
    """Options, limits, and the frames that an application or a tool sends."""
    field = kind.__struct_fields__[-1]
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\({field}x=1\): .*did you mean {field}=\?$"):
        kind(**{f"{field}x": 1})


@pytest.mark.parametrize("kind", [Audio, Text, Video, Played, Interrupt, Frame])
def test_frames_that_come_many_times_a_second_are_built_by_msgspec_alone(kind: type[Frame]) -> None:
    """A check in Python would make them ten times as slow to build."""
    assert type(kind) is msgspec.StructMeta
