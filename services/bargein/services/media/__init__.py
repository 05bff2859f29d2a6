"""Encoded sound and pictures: G.711, Opus over RTP, and the parts that all WebRTC connections share."""

__all__: list[str] = []
