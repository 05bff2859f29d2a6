"""Providers of speech and language models, and what each can do."""

__all__: list[str] = []
