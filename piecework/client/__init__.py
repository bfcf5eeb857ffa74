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
    Refused,
    ServerUnreachable,
    StillRunning,
    TooLarge,
)

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
    "NotFound",
    "Refused",
    "ServerUnreachable",
    "StillRunning",
    "TooLarge",
]
