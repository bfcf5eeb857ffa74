"""What can go wrong when a program talks to a server."""
# the names say what happened; "Error" at their end would add nothing

from collections.abc import Callable, Sequence
from typing import Any

from piecework.protocol.codes import Code
from piecework.protocol.ids import Id
from piecework.protocol.text import find_fault


class ClientError(Exception):
    """The root of everything that the client raises on purpose."""

    def __reduce__(self) -> tuple[Callable[..., Exception], tuple[Any, ...], dict[str, Any]]:
        """Let errors travel between processes, whatever their constructors take."""
        return _revive, (type(self), self.args), vars(self)


def _revive(kind: type[ClientError], args: tuple[Any, ...]) -> ClientError:
    error = kind.__new__(kind)
    error.args = args
    return error


class ServerUnreachable(ClientError):
    """No whole answer came from the server: it is down, too slow, or the URL is wrong."""

    def __init__(self, url: str, reason: str, *, sent: bool = False) -> None:
        super().__init__(f"no answer from {url}: {reason}")
        self.url = url
        self.reason = reason
        self.sent = sent
        """The whole request was on its way: the server may have done what it asks for."""


class ProxyUnreachable(ServerUnreachable):
    """The proxy that the environment names did not let us through; the server was not asked."""


class CertificateRefused(ServerUnreachable):
    """The server's certificate is not one of those that are trusted."""


class BadReply(ClientError):
    """Something answered, but not as a Piecework server answers. The URL may name another program."""


class ChecksumMismatch(ClientError):
    """Bytes arrived damaged: their SHA-256 is not the one that was announced."""

    def __init__(self, what: str, expected: str, found: str) -> None:
        super().__init__(f"{what} arrived damaged: SHA-256 {found}, expected {expected}")


class StillRunning(ClientError, TimeoutError):
    """The time to wait was over before every job had ended."""

    def __init__(self, unfinished: Sequence[Id]) -> None:
        jobs = "1 job has" if len(unfinished) == 1 else f"{len(unfinished)} jobs have"
        super().__init__(f"{jobs} not ended within the time to wait")
        self.unfinished = list(unfinished)


class NotReady(ClientError, TimeoutError):
    """The time to wait was over before every replica ran."""

    def __init__(self, revision: str, running: int, wanted: int, reason: str) -> None:
        message = f"{running} of {wanted} replicas of {revision} run within the time to wait"
        super().__init__(f"{message}: {reason}" if reason else message)


class JobFailed(ClientError):
    """The job ended without a result."""

    def __init__(self, job: Id, kind: str, message: str, exit_code: int | None = None) -> None:
        super().__init__(f"job {job} failed ({kind}): {message}")
        self.job = job
        self.exit_code = exit_code
        """With which the guest ended itself; None: a trap, a limit or something else ended it."""
        self.kind = kind
        """A ``piecework.protocol.codes.ErrorKind``, or ``cancelled``."""
        self.message = message


class JobCancelled(JobFailed):
    """Someone cancelled the job, or it was not started by its expiry time."""

    def __init__(self, job: Id, message: str = "it was cancelled") -> None:
        super().__init__(job, "cancelled", message)


class ApiError(ClientError):
    """The server refused the request."""

    def __init__(self, http_status: int, code: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        """A number of ``piecework.protocol.codes.Code``."""
        self.message = message
        self.retry_after_s = retry_after_s
        """Seconds after which the server asks to try again; None when it did not say."""


class Invalid(ApiError):
    """The request itself is wrong (HTTP 400 or 422)."""


class Refused(ApiError):
    """No valid token came with the request, or its scope is too small (HTTP 401 or 403)."""


class NotFound(ApiError):
    """Nothing has this id (HTTP 404)."""


class Conflict(ApiError):
    """The state of things forbids it (HTTP 409)."""


class Gone(ApiError):
    """What was asked for is not kept any more (HTTP 410)."""


class TooLarge(ApiError):
    """The body is larger than the server takes (HTTP 413)."""


class Busy(ApiError):
    """The server cannot do it now; later it may (HTTP 429 or 503)."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Refused,
    403: Refused,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Invalid,
    429: Busy,
    503: Busy,
}


def api_error(http_status: int, code: int, message: str, retry_after_s: float | None = None) -> ApiError:
    """Return the error of the class that fits the HTTP status."""
    return _BY_STATUS.get(http_status, ApiError)(http_status, code, message, retry_after_s)


def check_texts(texts: object) -> None:
    """Raise Invalid, as the server would, when one of the texts in a value is none that a request can have."""
    if fault := find_fault(texts):
        raise Invalid(422, Code.INVALID, fault)
