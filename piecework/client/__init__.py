"""Talking to a Piecework server from Python."""

from piecework.client.api import Client
from piecework.client.errors import (
    ApiError,
    BadReply,
    Busy,
    CertificateRefused,
    ChecksumMismatch,
    ClientError,
    Conflict,
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
from piecework.client.queue.jobs import JobOptions
from piecework.client.queue.results import JobResult
from piecework.client.stock.lambdas import LambdaOptions

__all__ = [
    "ApiError",
    "BadReply",
    "Busy",
    "CertificateRefused",
    "ChecksumMismatch",
    "Client",
    "ClientError",
    "Conflict",
    "Invalid",
    "JobCancelled",
    "JobFailed",
    "JobOptions",
    "JobResult",
    "LambdaOptions",
    "NotFound",
    "NotReady",
    "ProxyUnreachable",
    "Refused",
    "ServerUnreachable",
    "StillRunning",
    "TooLarge",
]
