"""From text to sound that is played at its pace."""

__all__: list[str] = []
