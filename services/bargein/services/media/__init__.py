"""Sound and pictures on the wire: G.711, RTP, and what every user of WebRTC shares."""

__all__: list[str] = []
