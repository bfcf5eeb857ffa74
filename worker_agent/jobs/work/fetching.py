"""Blobs from the server to the cache, where they stay while a lease needs them."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from piecework.client import ChecksumMismatch, ClientError, NotFound
from piecework.protocol.ids import Id
from piecework.protocol.messages import LeaseRef
from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.errors import AgentError, BrokenBlobError, CacheError
from piecework.worker_agent.jobs.shared import JobsShared
from piecework.worker_agent.link.link import describe, is_fault, is_refusal

UNUSED_MAX = 8
"""Blobs that are held though no lease needs them now."""
TRIES_BROKEN = 3
"""So often a blob may arrive damaged, or the server fail by a bug of its own, before its job is given up."""


class NotWantedError(Exception):
    """The job was stopped or its lease lost while the blob was fetched."""


class RefusedError(AgentError):
    """The server does not give the blob to this agent."""


@dataclass(slots=True)
class CachedBlob:
    """A blob that the fetcher holds in the cache."""

    path: Path
    users: int = 0
    """Leases that need it."""


class BlobFetcher:
    """Gets blobs for leases. Its methods may be called from any thread.

    The last few blobs that nobody needs any more are still held: the next job of a lambda needs its code again.
    """

    def __init__(self, shared: JobsShared, cache: BlobCache) -> None:
        self._shared = shared
        self._cache = cache
        self._lock = threading.Lock()
        self._held: dict[str, CachedBlob] = {}
        self._unused: OrderedDict[str, None] = OrderedDict()
        """Those of ``_held`` without users, the one that was used longest ago first."""
        self._needs: defaultdict[LeaseRef, list[str]] = defaultdict(list)

    def holds(self, checksum: str) -> bool:
        """Tell whether the blob is at hand now, so that ``get`` does not have to fetch it."""
        return checksum in self._held

    def get(
        self, refs: Sequence[LeaseRef], blob: Id, checksum: str, *, size_bytes: int = 0, lasting: bool = True
    ) -> Path:
        """Return the file with a blob; it stays until these leases are released. Waits while the server is away.

        ``size_bytes``, ``lasting``: as ``BlobCache.acquire`` has them.

        Raises NotFound when there is no such blob, NotWantedError when all the leases have ended meanwhile, and
        AgentError when the blob arrives broken, the server refuses it, or the disk fails.
        """
        path = self._find(refs, checksum) or self._fetch(refs, blob, checksum, size_bytes, lasting=lasting)
        # Blobs are released when a lease ends; some may have ended before their blob was here.
        ended = [ref for ref in refs if not self._shared.lease_table.is_open(ref)]
        if ended:
            self.release(ended)
        if len(ended) == len(refs):
            raise NotWantedError
        return path

    def release(self, refs: Iterable[LeaseRef]) -> None:
        """Let go of the blobs of leases. Safe to repeat."""
        with self._lock:
            for ref in refs:
                for checksum in self._needs.pop(ref, ()):
                    held = self._held[checksum]
                    held.users -= 1
                    if not held.users:
                        self._unused[checksum] = None
        self._drop_unused(keep=UNUSED_MAX)

    def _drop_unused(self, keep: int) -> bool:
        """Let go of blobs that no lease needs, but for so many; tell whether there were any."""
        dropped = []
        with self._lock:
            while len(self._unused) > keep:
                checksum, _ = self._unused.popitem(last=False)
                del self._held[checksum]
                dropped.append(checksum)
        for checksum in dropped:
            self._cache.release(checksum)
        return bool(dropped)

    def _find(self, refs: Sequence[LeaseRef], checksum: str) -> Path | None:
        with self._lock:
            if checksum not in self._held or not self._cache.is_intact(checksum):
                return None
            return self._use(refs, checksum)

    def _fetch(self, refs: Sequence[LeaseRef], blob: Id, checksum: str, size_bytes: int, *, lasting: bool) -> Path:
        fetch = partial(self._download, refs, blob, checksum)
        acquire = partial(self._cache.acquire, checksum, fetch, size_bytes=size_bytes, lasting=lasting)
        try:
            path = acquire()
        except CacheError:
            if not self._drop_unused(keep=0):
                raise
            path = acquire()
        with self._lock:
            twice = checksum in self._held
            self._held.setdefault(checksum, CachedBlob(path))
            self._use(refs, checksum)
        if twice:
            self._cache.release(checksum)
        return path

    def _use(self, refs: Sequence[LeaseRef], checksum: str) -> Path:
        held = self._held[checksum]
        held.users += len(refs)
        self._unused.pop(checksum, None)
        for ref in refs:
            self._needs[ref].append(checksum)
        return held.path

    def _download(self, refs: Sequence[LeaseRef], blob: Id, checksum: str, part: Path) -> None:
        backoff = self._shared.new_backoff()
        broken = faults = 0
        while any(map(self._shared.lease_table.is_open, refs)) and not self._shared.stop.is_set():
            try:
                self._shared.server.download(blob, part, checksum=checksum)
            except NotFound:
                raise
            except ChecksumMismatch as error:
                broken += 1
                if broken == TRIES_BROKEN:
                    raise BrokenBlobError(str(error)) from error
            except ClientError as error:
                faults += is_fault(error)
                if is_refusal(error) or faults == TRIES_BROKEN:
                    raise RefusedError(f"the server does not give blob {blob}: {describe(error)}") from error
                self._shared.link.failed(error)
                self._shared.stop.wait(backoff.next_s(error))
            else:
                self._shared.link.answered()
                return
        raise NotWantedError
