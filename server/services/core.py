"""What most services work with, as one record: the place that puts the services together makes it once."""

from collections.abc import Callable
from dataclasses import dataclass

from server.settings import Settings
from server.store.engine.database import Database
from server.store.engine.ids import IdSource

Clock = Callable[[], int]
"""Milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Core:
    """The database, and what all who write into it share."""

    database: Database
    ids: IdSource
    clock: Clock
    settings: Settings
