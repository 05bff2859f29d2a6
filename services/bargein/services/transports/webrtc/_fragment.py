"""Fragments of session descriptions (RFC 8840), as WHIP's PATCH carries them, and edits of descriptions. No I/O."""

from __future__ import annotations

import msgspec

__all__ = [
    "MAX_CANDIDATES",
    "Fragment",
    "credentials_of",
    "encode_fragment",
    "is_within_limit",
    "limit_candidates",
    "parse_fragment",
    "replace_credentials",
    "split_named_candidates",
]

MAX_CANDIDATES = 32
"""Addresses that a peer may have, in offers and patches together. ICE sends checks to each of them from each local
address, so an offer with thousands of them would keep the event loop busy for seconds, and aim packets at strangers."""
END = "a=end-of-candidates"


class Fragment(msgspec.Struct, frozen=True, kw_only=True):
    """A fragment of a session description: credentials and addresses of a peer."""

    username: str = ""
    """Its `ice-ufrag`. A new one asks for an ICE restart."""
    password: str = ""
    """Its `ice-pwd`."""
    candidates: tuple[tuple[str, str], ...] = ()
    """Lines `candidate:...`, each with the `mid` of its medium."""
    complete: bool = False
    """Whether the peer will send no more addresses."""


def parse_fragment(text: str) -> Fragment:
    """Return what a fragment says. Unknown lines are ignored.

    Raises:
        ValueError: No line is known.
    """
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


def credentials_of(sdp: str) -> tuple[str, str]:
    """Return the first `ice-ufrag` and `ice-pwd` of a description; empty strings where it has none."""
    found = {"ice-ufrag": "", "ice-pwd": ""}
    for line in sdp.splitlines():
        name, _, value = line.strip().removeprefix("a=").partition(":")
        if found.get(name) == "":
            found[name] = value
    return found["ice-ufrag"], found["ice-pwd"]


def split_named_candidates(sdp: str) -> tuple[str, Fragment]:
    """Return a description without the addresses that are names (`....local`), and a fragment with these.

    A browser hides its addresses behind such names from a page that has no microphone. Looking up a name takes a second
    where nothing answers, and is not needed by a peer that the browser calls first. So it is done later.
    """
    rest, named = [], []
    for section in _split_sections(sdp):
        mid = next((line.removeprefix("a=mid:") for line in section if line.startswith("a=mid:")), "")
        for line in section:
            if line.startswith("a=candidate:") and ".local " in line:
                named.append((line.removeprefix("a=candidate:"), mid))
            else:
                rest.append(line)
    complete = bool(named) and END in rest
    if complete:
        rest = [line for line in rest if line != END]
    return "\r\n".join([*rest, ""]), Fragment(candidates=tuple(named), complete=complete)


def limit_candidates(sdp: str, seen: set[str], limit: int) -> str:
    """Return a description without the addresses beyond a limit.

    Args:
        sdp: The description.
        seen: The addresses that the peer has sent so far, to which new ones are added.
        limit: The number of addresses that a peer may have.
    """
    return "".join(
        line
        for line in sdp.splitlines(keepends=True)
        if not line.startswith("a=candidate:") or is_within_limit(line.removeprefix("a=").strip(), seen, limit)
    )


def is_within_limit(candidate: str, seen: set[str], limit: int) -> bool:
    """Return whether a peer may have this address: it has sent it before, or has not yet sent the maximum number."""
    if candidate in seen:
        return True
    if len(seen) >= limit:
        return False
    seen.add(candidate)
    return True


def _split_sections(sdp: str) -> list[list[str]]:
    """Return the lines of the head, and of each medium."""
    sections: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def replace_credentials(sdp: str, username: str, password: str) -> str:
    """Return the description with other credentials, and without the addresses that belong to the old ones."""
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


def encode_fragment(sdp: str) -> str:
    """Return the fragment with the credentials and addresses of a description: the answer to an ICE restart."""
    username, password = credentials_of(sdp)
    lines = [f"a=ice-ufrag:{username}", f"a=ice-pwd:{password}"]
    media = sdp.split("\nm=")[1:2]  # all media are bundled with the first
    for line in media[0].splitlines() if media else ():
        if line.startswith(("a=mid:", "a=candidate:", "a=end-of-candidates")):
            lines.append(line)
    heading = f"m={media[0].splitlines()[0]}" if media else ""
    lines.sort(key=lambda line: not line.startswith(("a=ice", "a=mid")))
    return "\r\n".join([*lines[:2], heading, *lines[2:]]) + "\r\n"
