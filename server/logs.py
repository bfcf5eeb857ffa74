"""The server's log: one line per fact to standard error, for people or for programs."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from piecework.server.errors import ServerError
from piecework.terminal.streams import prepare_streams
from piecework.terminal.texts import escape_event

log = structlog.get_logger("server")


def open_log(format_: str) -> None:
    """Send the log to standard error: ``console`` for people, ``json`` with one object a line for programs.

    What libraries log as warnings and errors goes the same way. Safe to repeat.
    """
    prepare_streams()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any]
    if format_ == "json":
        # Without the variables of each frame: there may be secrets among them.
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        last = [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        last = [
            structlog.processors.format_exc_info,
            escape_event,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),
        ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


class Condition:
    """Something that lasts, of which the log says once that it began and once that it is over."""

    def __init__(
        self, began: str, over: str, monotonic: Callable[[], float] = time.monotonic, *, quiet_s: float = 0.0
    ) -> None:
        """``quiet_s``: it is over only when nothing came of it for so long."""
        self._began, self._over = began, over
        self._monotonic = monotonic
        self._quiet_s = quiet_s
        self._lock = threading.Lock()
        self._since: float | None = None
        self._met_at = 0.0

    def begin(self, error: ServerError) -> None:
        """Note an error that comes of it. The log need not tell of that one any more."""
        error.is_logged = True
        with self._lock:
            self._met_at = self._monotonic()
            if self._since is None:
                self._since = self._met_at
                log.error(self._began, error=str(error))

    def end(self) -> None:
        """Note that it is over, if it was there."""
        if self._since is None or self._monotonic() - self._met_at < self._quiet_s:
            return
        with self._lock:
            since, self._since = self._since, None
        if since is not None:
            log.info(self._over, after_s=round(self._monotonic() - since, 1))
