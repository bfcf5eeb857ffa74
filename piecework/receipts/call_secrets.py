"""What a call carries that nobody else shall see: calls with such are not recorded."""

import re
from collections.abc import Collection
from typing import Literal
from urllib.parse import parse_qsl

from piecework.http.exchange import Headers
from piecework.protocol.secrets import looks_secret

Omission = Literal["secrets", "size", "haste"]
"""Why a call was not recorded: it carries secrets; it is too large; too many others were just recorded."""
FIELDS_MAX = 1000
_LOGIN = re.compile(r"AUTHORIZATION|COOKIE|SESSION|JWT", re.IGNORECASE)
_HARMLESS = frozenset({"idempotency-key", "surrogate-key"})


def find_secret(headers: Headers, uri: str = "", kept: Collection[str] = ()) -> str | None:
    """Return the name of a header, or of a parameter of the query, that looks secret; None when there is none.

    ``kept``: names in lower case that do not count.
    """
    names = [name for name, _ in headers]
    query = uri.partition("?")[2]
    if query.count("&") >= FIELDS_MAX:
        return "query"
    names += [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    return next((name for name in names if _is_secret(name) and name.lower() not in kept), None)


def _is_secret(name: str) -> bool:
    return name.lower() not in _HARMLESS and bool(looks_secret(name) or _LOGIN.search(name))
