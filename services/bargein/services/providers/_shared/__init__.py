"""Parts that several providers share."""

__all__: list[str] = []
