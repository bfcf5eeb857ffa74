"""What a server stored that was filled once, for tests that begin with a copy of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from house import House

Fill = Callable[[House], dict[str, str]]


@dataclass
class Kept:
    """A data directory, and the ids of what is in it by what it is."""

    data: Path
    ids: dict[str, str]


Keep = Callable[[Fill], Kept]
