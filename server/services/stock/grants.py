"""What a lambda may ask to reach: grants that make sense."""

import re
from collections.abc import Callable, Iterable

from piecework.protocol.kv_grants import KV_GRANT_RULE, KvGrant
from piecework.protocol.messages import Grants
from piecework.server.errors import InvalidRequest

GRANTS_MAX = 100
"""Of one kind."""
_LENGTH = 300
_HOST = re.compile(r"(\*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?)(:[1-9][0-9]{0,4})?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DIRECTORY = re.compile(r"(/(?!\.{1,2}(?:/|:|$))[^/:\0]+)+(:ro|:rw)?")


def check_grants(grants: Grants) -> None:
    """Raise InvalidRequest, naming the grant, unless all of them can be granted by some node."""
    _check("http", grants.http, _HOST.fullmatch, "a host, as `host`, `host:port`, `*` or `*:port`, and no URL")
    _check("env", grants.env, _VARIABLE.fullmatch, "the name of a variable")
    _check("dirs", grants.dirs, _DIRECTORY.fullmatch, "a directory's path for guests, as `/data` or `/data:rw`")
    _check("kv", grants.kv, KvGrant.is_one, KV_GRANT_RULE)
    names = [KvGrant.parse(each).name for each in grants.kv]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequest(f"grants.kv has two namespaces that are called {twice!r}")


def _check(kind: str, entries: Iterable[str], fits: Callable[[str], object], wanted: str) -> None:
    for number, entry in enumerate(entries):
        if number >= GRANTS_MAX:
            raise InvalidRequest(f"grants.{kind} has more than {GRANTS_MAX} entries")
        if len(entry) > _LENGTH or not fits(entry):
            raise InvalidRequest(f"grants.{kind} has {entry[:_LENGTH]!r}, but each must be {wanted}")
