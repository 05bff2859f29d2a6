"""Clients of OpenAI: the realtime model, transcription and speech."""

__all__: list[str] = []
