"""Voice activity, barge-in and turns."""

__all__: list[str] = []
