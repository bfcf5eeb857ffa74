"""Whether the server answers: one log line per change, and how long to wait before the next try."""

import threading
from collections.abc import Callable
from http import HTTPStatus

import structlog

from piecework.client import ApiError, ClientError

log = structlog.get_logger()

Clock = Callable[[], float]
"""Seconds that only ever rise; where they start does not matter."""
TRANSIENT = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class Link:
    """What all threads together know about the server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._kind: tuple[object, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether the server did as asked when it was asked last."""
        with self._lock:
            return self._away_since is None

    def failed(self, error: ClientError) -> None:
        """Note that a request came to nothing; logged when that is news."""
        kind = (type(error), getattr(error, "http_status", None))
        with self._lock:
            if self._away_since is not None and kind == self._kind:
                return
            first, self._kind = self._away_since is None, kind
            if first:
                self._away_since = self._clock()
        state = "server refuses our token" if _refuses(kind) else "server away" if first else "server still away"
        log.warning(state, reason=describe(error))

    def answered(self) -> None:
        """Note that the server did as asked; logged when it had been away."""
        with self._lock:
            if self._away_since is None:
                return
            away_s, self._away_since = self._clock() - self._away_since, None
            refused = _refuses(self._kind)
        log.info("server takes our token" if refused else "server back", after_s=round(away_s, 1))


def _refuses(kind: tuple[object, ...]) -> bool:
    """Tell whether the server answers, but not to us."""
    return not {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}.isdisjoint(kind)


def describe(error: ClientError) -> str:
    """Say in a line what went wrong."""
    if isinstance(error, ApiError):
        return f"HTTP {error.http_status}, code {int(error.code)}: {error.message}"
    return str(error)


def is_refusal(error: ClientError) -> bool:
    """Tell whether the server answered that the request itself is wrong, so that repeating it is of no use."""
    return (
        isinstance(error, ApiError)
        and HTTPStatus.BAD_REQUEST <= error.http_status < HTTPStatus.INTERNAL_SERVER_ERROR
        and error.http_status not in TRANSIENT
    )


def is_fault(error: ClientError) -> bool:
    """Tell whether the server failed by a bug of its own, which may well do the same to each repetition."""
    return isinstance(error, ApiError) and error.http_status == HTTPStatus.INTERNAL_SERVER_ERROR
