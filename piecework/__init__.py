"""Piecework: run WebAssembly functions as jobs on any number of nodes."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from piecework.client import (
        ApiError,
        AsyncClient,
        AsyncJob,
        BadReply,
        BulkCount,
        BulkResult,
        Busy,
        CertificateRefused,
        ChecksumMismatch,
        Client,
        ClientError,
        Conflict,
        EditOptions,
        Gone,
        Invalid,
        Job,
        JobCancelled,
        JobExecutor,
        JobFailed,
        JobFuture,
        JobOptions,
        JobResult,
        LambdaOptions,
        NotFound,
        NotReady,
        ProxyUnreachable,
        Refused,
        Selection,
        ServerUnreachable,
        StillRunning,
        TooLarge,
        as_completed,
        gather,
        output_of,
    )
    from piecework.python_lambda import FunctionRaised, PythonCall, PythonLambda, function
    from piecework.python_source import CannotCarry

_ELSEWHERE = {
    "CannotCarry": "piecework.python_source",
    **dict.fromkeys(("PythonCall", "FunctionRaised", "PythonLambda", "function"), "piecework.python_lambda"),
}
"""Where names are that are not the client's."""
__version__ = "0.1.0"
__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncJob",
    "BadReply",
    "BulkCount",
    "BulkResult",
    "Busy",
    "CannotCarry",
    "CertificateRefused",
    "ChecksumMismatch",
    "Client",
    "ClientError",
    "Conflict",
    "EditOptions",
    "FunctionRaised",
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
    "PythonCall",
    "PythonLambda",
    "Refused",
    "Selection",
    "ServerUnreachable",
    "StillRunning",
    "TooLarge",
    "__version__",
    "as_completed",
    "function",
    "gather",
    "output_of",
]


if not TYPE_CHECKING:  # else type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Import the client when it is asked for: the server and the command line start faster without it."""
        if name in __all__:
            return getattr(importlib.import_module(_ELSEWHERE.get(name, "piecework.client")), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
