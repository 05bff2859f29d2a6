"""What a trickle sends: a fragment of a session description (RFC 8840), as WHIP's PATCH has it. No I/O."""

from __future__ import annotations

import msgspec

__all__ = ["Fragment", "credentials", "hidden", "parse", "renewed", "written"]

END = "a=end-of-candidates"


class Fragment(msgspec.Struct, frozen=True, kw_only=True):
    """Some addresses of a peer."""

    username: str = ""
    """Its `ice-ufrag`; a new one asks for an ICE restart."""
    password: str = ""
    """Its `ice-pwd`."""
    candidates: tuple[tuple[str, str], ...] = ()
    """Lines `candidate:…`, each with the `mid` of its medium."""
    complete: bool = False
    """There will be no more."""


def parse(text: str) -> Fragment:
    """Read a fragment; lines that are not known say nothing. Raises `ValueError` if none of them is."""
    username = password = mid = ""
    candidates: list[tuple[str, str]] = []
    complete = False
    for line in text.splitlines():
        name, _, value = line.strip().removeprefix("a=").partition(":")
        if name == "ice-ufrag":
            username = value
        elif name == "ice-pwd":
            password = value
        elif name == "mid":
            mid = value
        elif name == "candidate":
            candidates.append((value, mid))
        elif name == "end-of-candidates":
            complete = True
    if not (username or candidates or complete):
        raise ValueError("no line of this fragment is known; expected a=ice-ufrag, a=candidate or a=end-of-candidates")
    return Fragment(username=username, password=password, candidates=tuple(candidates), complete=complete)


def credentials(sdp: str) -> tuple[str, str]:
    """The first `ice-ufrag` and `ice-pwd` of a description; empty where it has none."""
    found = {"ice-ufrag": "", "ice-pwd": ""}
    for line in sdp.splitlines():
        name, _, value = line.strip().removeprefix("a=").partition(":")
        if found.get(name) == "":
            found[name] = value
    return found["ice-ufrag"], found["ice-pwd"]


def hidden(sdp: str) -> tuple[str, Fragment]:
    """A description without the addresses that are names (`….local`), and these.

    A browser hides its addresses like that from a page that has no microphone. To look such a name up takes a second
    where nobody knows it, and is not needed by a peer that is asked by the browser.
    """
    kept, found = [], []
    for section in _sections(sdp):
        mid = next((line.removeprefix("a=mid:") for line in section if line.startswith("a=mid:")), "")
        for line in section:
            if line.startswith("a=candidate:") and ".local " in line:
                found.append((line.removeprefix("a=candidate:"), mid))
            else:
                kept.append(line)
    complete = bool(found) and END in kept
    if complete:
        kept = [line for line in kept if line != END]
    return "\r\n".join([*kept, ""]), Fragment(candidates=tuple(found), complete=complete)


def _sections(sdp: str) -> list[list[str]]:
    """The lines of the whole, and of each medium."""
    sections: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def renewed(sdp: str, username: str, password: str) -> str:
    """The description with other credentials, and without the addresses that went with the old ones."""
    lines = []
    for line in sdp.splitlines():
        name = line.partition(":")[0]
        if name == "a=ice-ufrag":
            line = f"a=ice-ufrag:{username}"
        elif name == "a=ice-pwd":
            line = f"a=ice-pwd:{password}"
        elif name in ("a=candidate", "a=end-of-candidates"):
            continue
        lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def written(sdp: str) -> str:
    """What of a description belongs into a fragment: the answer to an ICE restart."""
    username, password = credentials(sdp)
    lines = [f"a=ice-ufrag:{username}", f"a=ice-pwd:{password}"]
    media = sdp.split("\nm=")[1:2]  # all are bundled with the first
    for line in media[0].splitlines() if media else ():
        if line.startswith(("a=mid:", "a=candidate:", "a=end-of-candidates")):
            lines.append(line)
    heading = f"m={media[0].splitlines()[0]}" if media else ""
    lines.sort(key=lambda line: not line.startswith(("a=ice", "a=mid")))
    return "\r\n".join([*lines[:2], heading, *lines[2:]]) + "\r\n"
