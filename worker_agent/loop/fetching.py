"""Blobs from the server to the cache, where they stay while a lease needs them."""

import threading
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

from piecework.client import ChecksumMismatch, ClientError, NotFound
from piecework.protocol.ids import Id
from piecework.protocol.messages import LeaseRef
from worker_agent.cache import BlobCache
from worker_agent.errors import AgentError, BrokenBlobError
from worker_agent.loop.link import describe, is_refusal
from worker_agent.loop.shared import Shared

TRIES_BROKEN = 3
"""So often a blob may arrive damaged before its job is given up."""


class NotWantedError(Exception):
    """The job was stopped or its lease lost while the blob was fetched."""


class RefusedError(AgentError):
    """The server does not give the blob to this agent."""


class BlobFetcher:
    """Gets blobs for leases. Its methods may be called from any thread."""

    def __init__(self, shared: Shared, cache: BlobCache) -> None:
        self._shared = shared
        self._cache = cache
        self._lock = threading.Lock()
        self._pins: defaultdict[LeaseRef, list[str]] = defaultdict(list)
        self._users: Counter[str] = Counter()

    def holds(self, checksum: str) -> bool:
        """Tell whether a lease holds the blob now, so that ``get`` does not have to fetch it."""
        return self._users[checksum] > 0

    def get(self, ref: LeaseRef, blob: Id, checksum: str) -> Path:
        """Return the file with a blob; it stays until the lease is released. Waits while the server is away.

        Raises NotFound when there is no such blob, NotWantedError when the lease has ended meanwhile, and
        AgentError when the blob arrives broken, the server refuses it, or the disk fails.
        """
        path = self._cache.acquire(checksum, partial(self._download, ref, blob, checksum))
        with self._lock:
            self._pins[ref].append(checksum)
            self._users[checksum] += 1
        return path

    def release(self, ref: LeaseRef) -> None:
        """Let go of the blobs of a lease. Safe to repeat."""
        with self._lock:
            checksums = self._pins.pop(ref, [])
            self._users.subtract(checksums)
            for checksum in checksums:
                if self._users[checksum] <= 0:
                    del self._users[checksum]
        for checksum in checksums:
            self._cache.release(checksum)

    def _download(self, ref: LeaseRef, blob: Id, checksum: str, part: Path) -> None:
        backoff = self._shared.new_backoff()
        broken = 0
        while self._shared.ledger.is_open(ref) and not self._shared.stop.is_set():
            try:
                self._shared.server.download(blob, part, checksum=checksum)
            except NotFound:
                raise
            except ChecksumMismatch as error:
                broken += 1
                if broken == TRIES_BROKEN:
                    raise BrokenBlobError(str(error)) from error
            except ClientError as error:
                if is_refusal(error):
                    raise RefusedError(f"the server refuses blob {blob}: {describe(error)}") from error
                self._shared.link.failed(error)
                self._shared.stop.wait(backoff.next_s(error))
            else:
                self._shared.link.answered()
                return
        raise NotWantedError
