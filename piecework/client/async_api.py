"""The client for programs with an event loop."""

import copy
from collections.abc import Sequence
from typing import Any, Self

from piecework.client.api import AnyClient
from piecework.client.async_transport import AsyncTransport
from piecework.client.calls import AnyId, path_id
from piecework.client.queue.jobs.handles import AsyncJob
from piecework.client.retries import RetryPolicy


class AsyncClient(AnyClient):
    """A server, as a program with an event loop sees it: the methods of ``Client``, to be awaited.

    What ``Client`` goes through with ``for``, this goes through with ``async for``. Requests, tries and errors are
    the same. A call that is cancelled closes its connection. There are no threads: files that calls read or write
    hold the event loop up, piece by piece. Each event loop needs a client of its own.
    """

    carrier: AsyncTransport

    def _prepare(self, url: str | Sequence[str], token: str, **options: Any) -> None:
        self.carrier = AsyncTransport(url, token, **options)

    @property
    def transport(self) -> AsyncTransport:
        """What sends the requests."""
        return self.carrier

    def within(self, timeout_s: float | None) -> Self:
        """Return a client that shares the connections of this one, and that is of use for so many seconds."""
        return self._copy(self.transport.within(timeout_s))

    def with_retries(self, retries: RetryPolicy) -> Self:
        """Return a client that shares the connections of this one and waits otherwise."""
        return self._copy(self.transport.with_retries(retries))

    def _copy(self, transport: AsyncTransport) -> Self:
        other = copy.copy(self)
        other.carrier = transport
        return other

    def handle(self, job_id: AnyId) -> AsyncJob:
        """Return the handle of a job whose id is known; nothing is sent."""
        return AsyncJob(path_id(job_id), self)

    async def close(self) -> None:
        """Close the connections that are idle. Using the client again opens new ones."""
        self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
