"""Voice and pictures over RTP, shared by everything that speaks WebRTC."""

__all__: list[str] = []
