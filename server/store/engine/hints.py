"""What servers that share a database announce: who changed something, and which jobs are to be had."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

NOTHING: Mapping[int, int] = MappingProxyType({})
LONGEST = 7000
"""Characters of a hint; PostgreSQL takes no more than 8000 bytes."""
ANY = "*"
"""Stands for lanes that are not told: there are too many."""

Hear = Callable[[Mapping[int, int] | None], object]
"""Is told of jobs that can be contracted now, by lane id; None: of any lane."""


class Hint(NamedTuple):
    """What was announced."""

    server: str
    """The name of the server that did."""
    enqueued: Mapping[int, int] | None
    """As ``Hear`` is told of it."""


def write_hint(server: str, enqueued: Mapping[int, int]) -> str:
    """Return the text of a hint; ``server`` has no space."""
    text = f"{server} {','.join(f'{lane}:{count}' for lane, count in enqueued.items())}"
    return text if len(text) <= LONGEST else f"{server} {ANY}"


def read_hint(text: str) -> Hint:
    """Read a hint. What another version wrote tells of any lane."""
    server, space, told = text.partition(" ")
    try:
        pairs = [pair.split(":") for pair in told.split(",")] if told else []
        return Hint(server, {int(lane): int(count) for lane, count in pairs} if space else None)
    except ValueError:
        return Hint(server, None)
