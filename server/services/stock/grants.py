"""What a lambda may ask to reach: grants that make sense."""

import re
from collections.abc import Callable, Iterable

from piecework.protocol.messages import Grants
from server.errors import InvalidRequest

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


def check_reading_only(grants: Grants) -> None:
    """Raise InvalidRequest for a grant that is of no use to a component, which can only read directories."""
    if grants.files is not None:
        raise InvalidRequest(
            "grants.files is of no use to a component: it cannot write, so its private folder would be empty; "
            "grant a directory to read, as `/data`"
        )
    if written := [entry for entry in grants.dirs if entry.endswith(":rw")]:
        raise InvalidRequest(f"grants.dirs has {written[0]!r}, but components only read directories: omit `:rw`")


def _check(kind: str, entries: Iterable[str], fits: Callable[[str], object], wanted: str) -> None:
    for number, entry in enumerate(entries):
        if number >= GRANTS_MAX:
            raise InvalidRequest(f"grants.{kind} has more than {GRANTS_MAX} entries")
        if len(entry) > _LENGTH or not fits(entry):
            raise InvalidRequest(f"grants.{kind} has {entry[:_LENGTH]!r}, but each must be {wanted}")
