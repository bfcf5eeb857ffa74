"""Talking to a Piecework server from Python."""

from piecework.client.api import Client
from piecework.client.errors import (
    ApiError,
    BadReply,
    Busy,
    ChecksumMismatch,
    ClientError,
    Conflict,
    Invalid,
    JobCancelled,
    JobFailed,
    NotFound,
    NotReady,
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
    "Refused",
    "ServerUnreachable",
    "StillRunning",
    "TooLarge",
]
