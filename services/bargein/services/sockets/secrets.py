"""Remove keys from texts that servers send. Some servers repeat the key that they refuse, or redirect to a URL with
it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

__all__ = ["MIN_SECRET_CHARACTERS", "hide_secrets", "request_secrets"]

MIN_SECRET_CHARACTERS: Final = 8
"""A word of a header, or a value in a URL's query, is taken for a secret if it has at least this many characters."""

HIDDEN: Final = "***"
"""The text that replaces a secret."""

_QUERY = re.compile(r"(\b(?:https?|wss?)://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.I)


def hide_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a server's text without secrets, plain or encoded for a URL, and without the queries of URLs.

    A query may hold a key that this side has never sent, such as that of a session to which a server redirects.

    Args:
        text: The text.
        secrets: What to remove; empty ones are ignored.
    """
    forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    for form in sorted(forms, key=len, reverse=True):  # a short secret may be a part of a long one
        text = text.replace(form, HIDDEN)
    return _QUERY.sub(rf"\1?{HIDDEN}", text)


def request_secrets(url: str, headers: Mapping[str, str]) -> list[str]:
    """Return the parts of a request that may be secret: the words of its headers, and the values of its URL's query.

    Args:
        url: The address of the request.
        headers: Its headers.
    """
    words = " ".join(headers.values()).split()
    with suppress(ValueError):  # a malformed URL was never sent
        words += [value for _, value in parse_qsl(urlsplit(url).query)]
    return [word for word in words if len(word) >= MIN_SECRET_CHARACTERS]
