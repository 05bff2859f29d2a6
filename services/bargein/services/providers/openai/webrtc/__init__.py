"""OpenAI Realtime over WebRTC, and the sideband of such a call."""

__all__: list[str] = []
