"""What guests reach outside of their sandbox: HTTP, Redis, Couchbase, files. Nothing, unless it is granted.

Every request passes ``GuestServices``: the one place that checks grants, holds requests to the call's stop signal,
and caps what comes back. What speaks with others is loaded when a guest first does: few do, and it takes long.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from piecework.http.exchange import Request, Response
from piecework.worker_agent.runtimes.journal import doing
from piecework.worker_agent.runtimes.services import files, journaled
from piecework.worker_agent.runtimes.services.access import Permissions
from piecework.worker_agent.runtimes.services.errors import DeniedError, ServiceError
from piecework.worker_agent.runtimes.services.store import MemoryStore, Store
from piecework.worker_agent.runtimes.stopping import StopSignal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from piecework.worker_agent.runtimes.journal import Journal
    from piecework.worker_agent.runtimes.services.redis import Redis

__all__ = ["DeniedError", "GuestServices", "ServiceError"]

ANSWER_BYTES = 16 * 1024 * 1024
"""No answer from outside is larger."""
PATIENCE_S = 30.0
"""No request to the outside takes longer, redirects included."""


class GuestServices:
    """What one call's guest may reach. Must be closed; use it with ``with``.

    Methods raise ServiceError with a message for the guest, and StoppedError as soon as the call must end.
    """

    def __init__(
        self, access: Permissions, stop: StopSignal, store: Store | None = None, journal: Journal | None = None
    ) -> None:
        """Whatever leaves the sandbox passes the journal, if there is one: then one thread may use it."""
        self.store: Store = MemoryStore() if store is None else store
        self.own_store = self.store
        """The same, for what is none of the guest's questions."""
        if journal is not None and store is not None:
            self.store = journaled.JournaledStore("store", journal, lambda: store)
        self._journal = journal
        self._access = access
        self._stop = stop
        self._redis: Redis | None = None

    def fetch(self, request: Request, patience_s: float = PATIENCE_S) -> Response:
        """Send an HTTP request, follow redirects, and return the last response. Any thread may call it."""
        if self._journal is not None:
            return journaled.fetch(self._journal, request, lambda: self._fetch(request, patience_s))
        return self._fetch(request, patience_s)

    def _fetch(self, request: Request, patience_s: float) -> Response:
        from piecework.worker_agent.runtimes.services import outbound  # noqa: PLC0415

        return outbound.fetch(request, self._access, outbound.RequestLimits(self._stop, patience_s, ANSWER_BYTES))

    def query(self, statement: bytes) -> bytes:
        """Run a statement in N1QL. Returns the rows as a JSON array."""
        return self._through("n1ql", statement, lambda: self._query(statement))

    def _query(self, statement: bytes) -> bytes:
        from piecework.worker_agent.runtimes.services import couchbase, outbound  # noqa: PLC0415

        server = self._access.get_couchbase()
        return couchbase.query(server, statement, outbound.RequestLimits(self._stop, PATIENCE_S, ANSWER_BYTES))

    @property
    def redis(self) -> journaled.KeyValues:
        """The node's Redis."""
        if self._journal is not None:
            return journaled.JournaledStore("redis", self._journal, self._connect)
        return self._connect()

    def _connect(self) -> Redis:
        from piecework.worker_agent.runtimes.services.redis import Redis  # noqa: PLC0415

        server = self._access.get_redis()
        self._redis = self._redis or Redis(server, self._stop, PATIENCE_S, ANSWER_BYTES)
        return self._redis

    def read_file(self, path: bytes) -> bytes:
        """Return what a file has, of the private folder or of one that is shared."""
        return self._through("read file", path, lambda: self._read_file(path))

    def _read_file(self, path: bytes) -> bytes:
        folder, rest = self._access.find_folder(path)
        return files.read_file(folder.path, rest, ANSWER_BYTES)

    def write_file(self, path: bytes, content: bytes) -> None:
        """Write a file, whether it is there or not."""
        self._through("write file", path + b"\0" + content, doing(lambda: self._write_file(path, content)))

    def _write_file(self, path: bytes, content: bytes) -> None:
        folder, rest = self._access.find_folder(path, write=True)
        files.write_file(Path(folder.path), rest, content)

    def _through(self, kind: str, asked: bytes, ask: Callable[[], bytes]) -> bytes:
        return ask() if self._journal is None else self._journal.through(kind, asked, ask)

    def close(self) -> None:
        """Close connections. Safe to repeat."""
        if self._redis is not None:
            self._redis.close()
            self._redis = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
