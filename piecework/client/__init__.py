"""Talking to a Piecework server from Python."""

from piecework.client.api import Client
from piecework.client.async_api import AsyncClient
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
from piecework.client.queue.bulk import BulkCount, BulkResult, EditOptions
from piecework.client.queue.executor import JobExecutor, JobFuture
from piecework.client.queue.handles import AsyncJob, Job, as_completed, gather
from piecework.client.queue.inputs import output_of
from piecework.client.queue.jobs import JobOptions
from piecework.client.queue.results import JobResult
from piecework.client.queue.selection import Selection
from piecework.client.stock.lambdas import LambdaOptions

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
