"""Talking to a Piecework server from Python."""

import importlib
from typing import TYPE_CHECKING, Any

from piecework.client.api import Client
from piecework.client.errors import (
    ApiError,
    BadReply,
    Busy,
    CertificateRefused,
    ChecksumMismatch,
    ClientError,
    Conflict,
    Gone,
    Invalid,
    JobCancelled,
    JobFailed,
    NotFound,
    NotReady,
    ProxyUnreachable,
    Refused,
    ServerUnreachable,
    StillRunning,
    TooLarge,
)
from piecework.client.queue.jobs.bulk import BulkCount, BulkResult, EditOptions
from piecework.client.queue.jobs.executor import JobExecutor, JobFuture
from piecework.client.queue.jobs.handles import AsyncJob, Job, as_completed, gather
from piecework.client.queue.jobs.inputs import output_of
from piecework.client.queue.jobs.jobs import JobOptions
from piecework.client.queue.jobs.results import JobResult
from piecework.client.queue.jobs.selection import Selection
from piecework.client.stock.lambdas import LambdaOptions

if TYPE_CHECKING:
    from piecework.client.async_api import AsyncClient

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncJob",
    "BadReply",
    "BulkCount",
    "BulkResult",
    "Busy",
    "CertificateRefused",
    "ChecksumMismatch",
    "Client",
    "ClientError",
    "Conflict",
    "EditOptions",
    "Gone",
    "Invalid",
    "Job",
    "JobCancelled",
    "JobExecutor",
    "JobFailed",
    "JobFuture",
    "JobOptions",
    "JobResult",
    "LambdaOptions",
    "NotFound",
    "NotReady",
    "ProxyUnreachable",
    "Refused",
    "Selection",
    "ServerUnreachable",
    "StillRunning",
    "TooLarge",
    "as_completed",
    "gather",
    "output_of",
]


if not TYPE_CHECKING:  # else type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Import the client for event loops when it is asked for: asyncio takes its time."""
        if name == "AsyncClient":
            return importlib.import_module("piecework.client.async_api").AsyncClient
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
