"""An extension of Griffe, which reads the sources for the reference: docstrings as Markdown.

Docstrings introduce an indented example with `::`, as reStructuredText does. Markdown needs the indentation only and
would show both colons.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class MarkdownDocstrings(griffe.Extension):
    """Turns a `::` at the end of a paragraph into a colon, and removes one that stands alone."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one module, class, function or attribute."""
        if obj.docstring is not None:
            value = re.sub(r"^[ \t]*::[ \t]*$", "", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"::[ \t]*\n(?=[ \t]*\n)", ":\n", value)
