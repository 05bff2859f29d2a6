"""Checking an offer before aiortc sees it. Imports aiortc."""

from __future__ import annotations

from aiortc.sdp import SessionDescription

__all__ = ["parse_offer"]


def parse_offer(offer: str) -> SessionDescription:
    """Return an offer that is complete enough for aiortc, which checks little itself.

    Raises:
        ValueError: The offer is wrong. The text says what is wrong.
    """
    try:
        description = SessionDescription.parse(offer)
    except Exception as error:  # aiortc's parser raises anything from IndexError to AssertionError for hostile input
        raise ValueError(f"this is not a session description: {type(error).__name__}: {error}") from None
    mids = [media.rtp.muxId for media in description.media]
    if not mids:
        raise ValueError("this offer has no media; offer audio, or a data channel, or both")
    if "" in mids or len(set(mids)) < len(mids):
        raise ValueError(f"the media of this offer are called {mids}; expected a different `mid` for each")
    for media in description.media:
        if media.kind not in ("audio", "video", "application"):
            raise ValueError(f"medium {media.rtp.muxId} is {media.kind!r}; expected audio, video or application")
        ice, dtls = media.ice, media.dtls
        if not (ice and ice.usernameFragment and ice.password and dtls and dtls.fingerprints):
            raise ValueError(f"medium {media.rtp.muxId} has no ICE credentials, or no fingerprint")
    if sum(media.kind == "application" for media in description.media) > 1:
        raise ValueError("this offer has two associations of data channels; expected one")
    bundled = [mid for group in description.group if group.semantic == "BUNDLE" for mid in group.items]
    if (bundled or len(mids) > 1) and set(bundled) != set(mids):
        raise ValueError(f"this offer bundles {bundled} of {mids}; expected all media in one bundle")
    return description
