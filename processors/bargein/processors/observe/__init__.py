"""Measure and watch what flows."""

__all__: list[str] = []
