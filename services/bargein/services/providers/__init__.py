"""Speech and language models, one module or package for each provider, and the table of what each can do."""

from .catalog import PROVIDERS, Provider, find_provider, markdown, table

__all__ = ["PROVIDERS", "Provider", "find_provider", "markdown", "table"]
