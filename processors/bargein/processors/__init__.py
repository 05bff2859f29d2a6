"""Pure media and turn-taking steps. This room fills as its parts arrive; it imports the engine only."""

__all__: list[str] = []
