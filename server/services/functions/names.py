"""What functions and their revisions can be called, and the URLs that can serve them."""

import re
from urllib.parse import urlsplit

from piecework.protocol.names import NAME_RULE, is_name
from piecework.server.errors import InvalidRequest

URL_LENGTH = 500
_PLAIN = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
"""What URLs are made of (RFC 3986). In another proxy's configuration, a ``{`` would name one of its secrets."""


def check_name(kind: str, text: str) -> str:
    """Return the name of a ``kind`` of thing. Raises InvalidRequest when nothing can be called so."""
    if not is_name(text):
        raise InvalidRequest(f"the {kind} is {text[:200]!r}: {NAME_RULE}")
    return text


def check_url(text: str) -> str:
    """Return the URL of something that serves a function. Raises InvalidRequest that says what is wrong with it.

    A password in a URL would be shown in lists, and a query or fragment could not be kept in calls.
    """
    try:
        parts = urlsplit(text)
        is_complete = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port)
        (parts.hostname or "").encode("idna")
    except ValueError:  # a bad port, bad brackets, or a name that DNS cannot have
        is_complete = False
    if not is_complete or not _PLAIN.fullmatch(text):
        raise InvalidRequest(f"{text[:200]!r} is no URL of a server; one looks like http://127.0.0.1:8080")
    if len(text) > URL_LENGTH:
        raise InvalidRequest(f"the URL has {len(text)} characters; at most {URL_LENGTH} are taken")
    if "@" in parts.netloc:
        raise InvalidRequest("the URL of a function has no user and no password")
    if "?" in text or "#" in text:
        raise InvalidRequest(f"{text[:200]!r} has a query or a fragment; the URL of a function has none")
    return text
