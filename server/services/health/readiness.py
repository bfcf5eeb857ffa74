"""Whether this server can do its work: what `/readyz` tells."""

import threading
from collections.abc import Callable
from pathlib import Path

from piecework.server.blobs import BlobStore, DiskSpace
from piecework.server.errors import BlobsAway, DatabaseAway, ServerError, StorageFull
from piecework.server.logs import Condition
from piecework.server.store.engine.database import Database
from piecework.server.store.stock import tokens

TRY_EVERY_S = 3.0
"""Anybody may ask whether the server is ready; it writes to find out at most this often."""


class Readiness:
    """Looks at once at what is cheap, and now and then writes something."""

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        directory: Path,
        touch: Callable[[], object],
        monotonic: Callable[[], float],
    ) -> None:
        """``directory`` is where SQLite's file is; ``touch`` writes something small to the database."""
        self._database = database
        self._store = store
        self._space = None if database.is_shared else DiskSpace(directory, "the database", monotonic)
        self._touch = touch
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._tried_at = -TRY_EVERY_S
        self._failure: ServerError | None = None
        self._unready = Condition("not ready", "ready again")

    def check(self) -> None:
        """Return when requests that read and requests that write can be served.

        Raises DatabaseAway, StorageFull or BlobsAway.
        """
        try:
            with self._database.read() as connection:
                tokens.any_token(connection)
            self._store.check_space()
            if self._space is not None:
                self._space.check()
            self._try_now_and_then()
        except ServerError as error:
            self._unready.begin(error)
            raise
        self._unready.end()

    def _try_now_and_then(self) -> None:
        # While one writes the others go by what was found last: a disk that hangs must not hold them all.
        if self._lock.acquire(blocking=False):
            try:
                if self._monotonic() - self._tried_at >= TRY_EVERY_S:
                    self._failure = self._try()
                    self._tried_at = self._monotonic()
            finally:
                self._lock.release()
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))

    def _try(self) -> ServerError | None:
        """Store something, and return why that is not possible; None when it is."""
        try:
            self._store.try_out()
            self._touch()
        except (StorageFull, DatabaseAway, BlobsAway) as error:
            return error
        return None
