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
from piecework.client.jobs import JobOptions
from piecework.client.lambdas import LambdaOptions
from piecework.client.results import JobResult

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
