"""The protocol of one served session, without I/O."""

__all__: list[str] = []
