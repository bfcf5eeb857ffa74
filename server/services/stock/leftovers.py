"""Removing what nothing uses any more: uploads, deleted lambdas, empty lanes, workers that are gone."""

from collections.abc import Callable, Sequence
from functools import partial

import structlog

from piecework.protocol.retention import FOR_EVER_MS
from piecework.server.services.core import Core
from piecework.server.services.stock.data import Data
from piecework.server.store.engine.database import Connection
from piecework.server.store.engine.ids import age, id_at
from piecework.server.store.stock import blobs, leftovers

log = structlog.get_logger("server")

STEP = 100
"""Rows that one step looks at, and removes at most."""
DELETED_MS = 60_000
"""A deleted lambda stays so long: another server may be about to take in jobs for it."""


class Leftovers:
    """Goes through what there is, a part with each step, and removes what nothing uses."""

    def __init__(self, core: Core, data: Data) -> None:
        self._database, self._clock, self._settings = core.database, core.clock, core.settings
        self._data = data
        self._places: dict[str, int] = {}
        """How far each kind of thing was looked through."""

    def sweep_uploads(self) -> bool:
        """Remove some blobs that nothing uses. Returns whether there are more to look at."""
        kept_ms = self._settings.keep_ms("uploads")
        if kept_ms == FOR_EVER_MS:
            return False
        before = id_at(self._clock() - kept_ms)
        seen = self._look("uploads", partial(leftovers.walk_uploads, before=before))
        with self._database.read() as connection:
            unused = leftovers.find_unused(connection, seen)
        self._delete_blobs(unused)
        return len(seen) == STEP

    def sweep_lanes(self) -> bool:
        """Remove some lanes that no job is in. Returns whether there are more to look at."""
        seen = self._look("lanes", leftovers.walk_lanes)
        with self._database.read() as connection:
            empty = leftovers.find_empty(connection, seen)
        if empty:
            self._database.write(partial(leftovers.delete_lanes, lane_ids=empty), durable=False)
        return len(seen) == STEP

    def sweep_workers(self) -> bool:
        """Remove some workers that were not heard of for long. Returns whether there may be more."""
        kept_ms = self._settings.keep_ms("workers")
        if kept_ms == FOR_EVER_MS:
            return False
        before = self._clock() - kept_ms
        gone = self._look("workers", partial(leftovers.find_gone_workers, before=before))
        if gone:
            self._database.write(partial(leftovers.delete_workers, worker_ids=gone, before=before), durable=False)
            log.info("forgot workers that are gone", workers=len(gone))
        return len(gone) == STEP

    def sweep_lambdas(self) -> bool:
        """Remove some deleted lambdas that no job refers to any more. Returns whether there may be more."""
        with self._database.read() as connection:
            found = leftovers.find_deleted_lambdas(connection, self._clock() - DELETED_MS, STEP)
        if found:
            ids = [id_ for id_, _ in found]
            self._database.write(partial(leftovers.delete_lambdas, ids=ids), durable=False)
            self._delete_codices([codex for _, codex in found if codex])
        return len(found) == STEP

    def _delete_codices(self, codices: Sequence[int]) -> None:
        """Remove code that nothing uses any more and that was uploaded long enough ago."""
        kept_ms = self._settings.keep_ms("uploads")
        if kept_ms != FOR_EVER_MS:
            before = age(id_at(self._clock() - kept_ms))
            self._delete_blobs([codex for codex in codices if age(codex) < before])

    def _look(self, kind: str, walk: Callable[..., list[int]]) -> list[int]:
        """Return the next things of a kind; once all were looked at, begin anew."""
        with self._database.read() as connection:
            seen = walk(connection, above=self._places.get(kind, 0), limit=STEP)
        self._places[kind] = seen[-1] if len(seen) == STEP else 0
        return seen

    def _delete_blobs(self, ids: Sequence[int]) -> None:
        if not ids:
            return

        def remove(connection: Connection) -> list[bytes]:
            return blobs.delete_unused(connection, ids)

        self._data.drop(self._database.write(remove, durable=False))
        log.info("removed blobs that nothing uses", blobs=len(ids))
