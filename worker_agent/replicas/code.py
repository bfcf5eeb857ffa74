"""The code of replicas: from the control server or a URL into the agent's cache, where it stays while used."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from piecework.client import ClientError
from piecework.protocol.ids import Id
from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.downloads import DownloadOptions, download_module
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.link.control import ControlServer
from piecework.worker_agent.link.link import describe


class CodeSource(Protocol):
    """Some code that can be brought to this node. Every ``acquire`` that returned is followed by a ``release``."""

    @property
    def checksum(self) -> str: ...

    def acquire(self) -> Path:
        """Return the file with the code; it stays until ``release``. Raises AgentError."""

    def release(self) -> None: ...


class CachedCode:
    """Code in the agent's cache, fetched when it is not there."""

    def __init__(self, cache: BlobCache, checksum: str, fetch: Callable[[Path], object]) -> None:
        self.checksum = checksum
        self._cache = cache
        self._fetch = fetch

    def acquire(self) -> Path:
        """Return the file with the code; it stays until ``release``. Raises AgentError."""
        return self._cache.acquire(self.checksum, self._fetch)

    def release(self) -> None:
        """Let go of it."""
        self._cache.release(self.checksum)


class CodeStore:
    """Brings code to this node."""

    def __init__(self, cache: BlobCache, scratch: Path, options: DownloadOptions, server: ControlServer) -> None:
        self._cache = cache
        self._scratch = scratch
        self._options = options
        self._server = server

    def of_server(self, blob: Id, checksum: str) -> CachedCode:
        """Return the code that is a blob of the control server."""

        def fetch(part: Path) -> None:
            try:
                self._server.download(blob, part, checksum=checksum)
            except ClientError as error:
                raise AgentError(f"its code cannot be fetched: {describe(error)}") from error

        return CachedCode(self._cache, checksum, fetch)

    def of_url(self, url: str, checksum: str) -> CachedCode:
        """Return the code that was at a URL, and has this digest."""

        def fetch(part: Path) -> None:
            download_module(url, part, checksum, self._options)

        return CachedCode(self._cache, checksum, fetch)

    def download(self, url: str, checksum: str | None) -> CachedCode:
        """Get the code from a URL now, whatever its digest is unless ``checksum`` says so; it is acquired.

        Raises AgentError.
        """
        part = self._scratch / f"module-{secrets.token_hex(8)}"
        try:
            found = download_module(url, part, checksum, self._options)
            code = CachedCode(self._cache, found, part.replace)
            code.acquire()
        finally:
            part.unlink(missing_ok=True)
        return self.of_url(url, found)
