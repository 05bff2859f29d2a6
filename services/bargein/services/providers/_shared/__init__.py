"""What several providers share: HTTP, server-sent events, keys, and bases for remote and local parts."""

__all__: list[str] = []
