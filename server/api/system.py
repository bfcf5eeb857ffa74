"""The server as a whole: alive, ready, version, runtimes."""

from typing import Annotated, Literal

from msgspec import Meta

from piecework import __version__
from piecework.protocol.ids import Id, IdKind
from piecework.protocol.messages import (
    IdList,
    MessageReply,
    RuntimeStatsReply,
    StatusReply,
    StorageReply,
    VersionReply,
)
from piecework.server.services import Services, system
from piecework.server.web.endpoint import Query, endpoint


@endpoint("GET", "/ping", scope="open", reply=MessageReply)
def ping(_services: Services) -> MessageReply:
    """Say that the server is there."""
    return MessageReply(message="pong")


@endpoint("GET", "/healthz", scope="open", reply=MessageReply)
def healthz(_services: Services) -> MessageReply:
    """Say that the process is alive, whatever the database does."""
    return MessageReply(message="alive")


@endpoint("GET", "/readyz", scope="open", reply=MessageReply)
def readyz(services: Services) -> MessageReply:
    """Say that the database answers and that there is room to store things; else 503."""
    services.readiness.check()
    return MessageReply(message="ready")


@endpoint("GET", "/sys/version", scope=("view", "worker"), reply=VersionReply)
def version(_services: Services) -> VersionReply:
    """Tell the server's version."""
    return VersionReply(version=__version__)


@endpoint("GET", "/sys/runt/stat", scope=("view", "worker"), reply=RuntimeStatsReply)
def runtime_stats(services: Services) -> RuntimeStatsReply:
    """Count the workers that offer each runtime, and the jobs that ask for it."""
    return RuntimeStatsReply(runtimes=system.runtime_stats(services.database, services.depths, services.clock()))


@endpoint("GET", "/sys/storage", scope="view", reply=StorageReply)
def storage(services: Services) -> StorageReply:
    """Tell what takes the disk, and what the sweep is about to remove."""
    return services.describe_storage()


class StatusQuery(Query, kw_only=True):
    """How much to tell."""

    checks: Literal["found", "all"] = "found"
    """``all``: also what is well."""


@endpoint("GET", "/sys/status", scope="view", query=StatusQuery, reply=StatusReply)
def status(services: Services, query: StatusQuery) -> StatusReply:
    """Tell whether all is well, or what is not and what to do; with figures of the queue."""
    return services.status.read(everything=query.checks == "all")


class EndingQuery(Query, kw_only=True):
    """Which ids are looked for."""

    kind: IdKind
    """What has the id; ``data`` is a blob."""
    ends: Annotated[str, Meta(pattern=r"\A[0-9]{6,19}\Z")]
    """The last digits of it, 6 at least."""


@endpoint("GET", "/ids", scope="view", query=EndingQuery, reply=IdList)
def find_ids(services: Services, query: EndingQuery) -> IdList:
    """Find ids by how they end, as people type them."""
    return IdList(ids=[Id(each) for each in system.find_ids(services.database, query.kind, query.ends)])
