"""The client: one method for each thing that a server can do."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self, Unpack
from warnings import warn

from piecework.client.calls import AnyId, AnyLambda, path_id
from piecework.client.carriers import BlockingCarrier
from piecework.client.environment import find_server
from piecework.client.functions.functions import FunctionCalls
from piecework.client.modes import Blocking, call
from piecework.client.queue.events import EventCalls, EventOptions
from piecework.client.queue.groups import GroupCalls
from piecework.client.queue.holds import HoldCalls
from piecework.client.queue.jobs.executor import JobExecutor
from piecework.client.queue.jobs.handles import Job
from piecework.client.queue.jobs.job_files import JobFileCalls
from piecework.client.queue.jobs.jobs import JobOptions
from piecework.client.queue.jobs.mapping import MapCalls
from piecework.client.queue.jobs.receipts import ReceiptCalls
from piecework.client.queue.jobs.replays import ReplayCalls
from piecework.client.queue.limits import LimitCalls
from piecework.client.queue.schedules import ScheduleCalls
from piecework.client.queue.stats import StatsCalls
from piecework.client.queue.webhooks import WebhookCalls
from piecework.client.retries import RetryPolicy
from piecework.client.stock.audit import AuditCalls
from piecework.client.stock.modules import ModuleCalls
from piecework.client.stock.namespaces import NamespaceCalls
from piecework.client.stock.workers import WorkerCalls
from piecework.client.transport import AnyTransport, PreparedRequest, Query, Transport
from piecework.protocol import bodies
from piecework.protocol.ids import Id, IdKind
from piecework.protocol.messages import (
    FeedEvent,
    IdList,
    RuntimeStats,
    RuntimeStatsReply,
    StatusReply,
    StorageReply,
    VersionReply,
)
from piecework.protocol.secrets import MASK


class ServerCalls(
    MapCalls,
    GroupCalls,
    HoldCalls,
    JobFileCalls,
    LimitCalls,
    ReceiptCalls,
    ReplayCalls,
    ScheduleCalls,
    EventCalls,
    StatsCalls,
    WebhookCalls,
    ModuleCalls,
    FunctionCalls,
    NamespaceCalls,
    WorkerCalls,
    AuditCalls,
):
    """The server as a whole."""

    @call
    async def ping(self) -> str:
        """Return what the server says when it is alive."""
        return await self._steer(PreparedRequest("GET", "/ping", repeatable=True))

    @call
    async def storage(self) -> StorageReply:
        """Return what takes the server's disk, and what its sweep is about to remove."""
        return await self.carrier.call(PreparedRequest("GET", "/sys/storage", repeatable=True), StorageReply)

    @call
    async def status(self, *, everything: bool = False) -> StatusReply:
        """Return whether all is well with the server, or what is not; ``everything``: what is well, too."""
        query: Query = {"checks": "all" if everything else None}
        return await self.carrier.call(PreparedRequest("GET", "/sys/status", query, repeatable=True), StatusReply)

    @call
    async def version(self) -> str:
        """Return the server's version."""
        return (
            await self.carrier.call(PreparedRequest("GET", "/sys/version", repeatable=True), VersionReply)
        ).version

    @call
    async def runtimes(self) -> dict[str, RuntimeStats]:
        """Return how many workers and jobs each runtime has, by name."""
        request = PreparedRequest("GET", "/sys/runt/stat", repeatable=True)
        return (await self.carrier.call(request, RuntimeStatsReply)).runtimes

    @call
    async def find_ids(self, kind: IdKind, ends: str) -> list[Id]:
        """Return ids that end with these digits, six at least; newest first, the newest few of them."""
        request = PreparedRequest("GET", "/ids", {"kind": kind, "ends": ends}, repeatable=True)
        return (await self.carrier.call(request, IdList)).ids


class AnyClient(ServerCalls):
    """What clients share: how they are made, and what they are called."""

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        token: str | None = None,
        *,
        attempts: int = RetryPolicy.attempts,
        connect_timeout_s: float = RetryPolicy.connect_s,
        read_timeout_s: float = RetryPolicy.read_s,
        media_type: str = bodies.MSGPACK,
        ca: Path | None = None,
        profile: str | None = None,
    ) -> None:
        """Prepare for talking to ``url``; nothing is sent yet.

        ``url`` may be several, a list or with commas between: servers that share a database. The first is asked as
        long as it answers, then the next.

        None for ``url`` or ``token``: what the command takes, from ``profile``, the environment or configuration
        files, and else this machine and no token, which "" is, too. ``ca``: a file, or directory, of certificates
        to trust instead of those of the environment. Raises ValueError for what is no URL or no token, for files
        and certificates that cannot be used, and when the environment names a proxy that cannot. Warns of a file
        with secrets that others may read.
        """
        retries = RetryPolicy(attempts=attempts, connect_s=connect_timeout_s, read_s=read_timeout_s)
        url, token, ca, warnings = find_server(url, token, ca, profile)
        for line in warnings:
            warn(line, stacklevel=2)
        self._given = {"token": MASK if token else "", "media_type": media_type, "ca": ca}
        self._prepare(url, token, retries=retries, media_type=media_type, ca=ca)

    @property
    @abstractmethod
    def transport(self) -> AnyTransport[Any]:
        """What sends the requests."""

    @abstractmethod
    def _prepare(self, url: str | Sequence[str], token: str, **options: Any) -> None:
        """Make the transport; ``options`` are those of ``AnyTransport``."""

    @property
    def url(self) -> str:
        """The server's base URL, without a slash at its end; the first of several."""
        return self.transport.url

    def __repr__(self) -> str:
        usual = {each.name: each.default for each in fields(RetryPolicy)} | {"media_type": bodies.MSGPACK}
        given = asdict(self.transport.retries) | self._given
        shown = [f"{name}={value!r}" for name, value in given.items() if value and value != usual.get(name)]
        return f"{type(self).__name__}({', '.join([repr(','.join(self.transport.servers.urls)), *shown])})"


class Client(AnyClient, Blocking):
    """A server, as a program sees it. Threads may share one client: no two requests use a connection at once.

    Requests that are safe to repeat are tried up to ``attempts`` times when the connection breaks or the
    server is busy; ``attempts=1`` switches that off. Every method may raise ``ServerUnreachable``,
    ``BadReply``, and ``ApiError`` or one of its subclasses.
    """

    def _prepare(self, url: str | Sequence[str], token: str, **options: Any) -> None:
        self._core = ServerCalls()
        self.transport = Transport(url, token, **options)

    @property
    def core(self) -> ServerCalls:
        """What has the same methods as coroutines, which never suspend."""
        return self._core

    @property
    def transport(self) -> Transport:
        """What sends the requests."""
        return self._transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self._transport = transport
        self._core = copy.copy(self._core)
        self._core.carrier = BlockingCarrier(transport)

    @property
    def clock(self) -> Callable[[], float]:
        """What tells the time by which calls wait, seconds."""
        return self._core.clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:
        self._core.clock = clock

    def within(self, timeout_s: float | None) -> Self:
        """Return a client that shares the connections of this one, and that is of use for so many seconds.

        All its calls end by then, with ServerUnreachable if need be. None: for ever.
        """
        return self._copy(self.transport.within(timeout_s))

    def with_retries(self, retries: RetryPolicy) -> Self:
        """Return a client that shares the connections of this one and waits otherwise."""
        return self._copy(self.transport.with_retries(retries))

    def _copy(self, transport: Transport) -> Self:
        other = copy.copy(self)
        other.transport = transport
        return other

    def events(self, **which: Unpack[EventOptions]) -> Iterator[FeedEvent]:
        """Go through what happens to jobs, as ``EventCalls.events`` does, from this call on."""
        if which.get("after") is None:
            which["after"] = self.newest_event()
        return super().events(**which)

    def handle(self, job_id: AnyId) -> Job:
        """Return the handle of a job whose id is known; nothing is sent."""
        return Job(path_id(job_id), self)

    def executor(self, lambda_id: AnyLambda, **options: Unpack[JobOptions]) -> JobExecutor:
        """Return an executor of ``concurrent.futures`` whose calls are jobs of a lambda, each with these options.

        A lambda that is named is the newest of its name at each call.
        """
        return JobExecutor(self, lambda_id, options)

    def close(self) -> None:
        """Close the connections that are idle. Using the client again opens new ones."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
