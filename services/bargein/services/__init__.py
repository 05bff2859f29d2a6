"""Everything that talks to the outside: models, recognisers, voices, transports. This room fills as its parts
arrive."""

__all__: list[str] = []
