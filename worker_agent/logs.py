"""How the agent writes its log: to stderr, for people or for programs."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import msgspec
import structlog

from piecework.protocol.ids import Id
from piecework.terminal.streams import prepare_streams
from piecework.terminal.texts import escape_event


def configure_logs(form: str, level: str, stream: TextIO | None = None) -> None:
    """Set up logging for this process. ``form`` is ``console`` or ``json``."""
    prepare_streams()
    stream = stream or sys.stderr
    renderer: Any
    if form == "json":
        renderer = structlog.processors.JSONRenderer(serializer=_write_json)
    else:
        # Tracebacks with the values of variables would show tokens.
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), pad_event_to=24, exception_formatter=plain
        )
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _show_ids if form == "json" else _show_lists,
        structlog.processors.format_exc_info,
    ]
    if form == "console":
        processors.append(escape_event)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(stream),
    )


def _show_ids(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Show ids as they travel, also in lists."""
    for name, value in event.items():
        if isinstance(value, Id):
            event[name] = str(int(value))
        elif isinstance(value, list | tuple):
            event[name] = [str(int(each)) if isinstance(each, Id) else each for each in value]
    return event


def _show_lists(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Show ids, and lists as people write them."""
    shown = _show_ids(logger, method, event)
    for name, value in shown.items():
        if isinstance(value, list):
            shown[name] = " ".join(map(str, value))
    return shown


def _write_json(event: object, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
