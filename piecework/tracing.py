"""Traces: one for each job, from its submission over its guest to its outcome. Nothing is imported while off.

What is passed on is W3C's ``traceparent``; what is recorded goes to a collector by OTLP over HTTP.
"""

import re
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from piecework.extras import require

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""How version 00 is written; https://www.w3.org/TR/trace-context."""
VARIABLE = "TRACEPARENT"
"""The variable in which programs find it."""
Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """Something that takes a while, until its end is told."""

    traceparent: str
    """What makes others parts of it."""

    def end(self, attributes: Attributes = ..., *, failure: str = "", at_s: float | None = None) -> None:
        """Tell its end: now, or at a time in seconds since 1970. ``failure``: why it failed, if it did."""


class Tracer(Protocol):
    """Records what takes a while. Safe to share between threads; it never waits for the collector."""

    def begin(
        self, name: str, parent: str | None, attributes: Attributes = ..., *, at_s: float | None = None
    ) -> Span:
        """Begin a span, under another one that is told by its ``traceparent``, or a trace of its own."""

    def close(self) -> None:
        """Send what is left, for some seconds at most."""


def open_tracer(service: str, endpoint: str) -> Tracer | None:
    """Return what records spans of a service at a collector, such as ``http://127.0.0.1:4318``; None for "".

    Raises ModuleNotFoundError when the extra ``otel`` is not installed.
    """
    if not endpoint:
        return None
    require("opentelemetry")
    from piecework.otel import OtelTracer  # noqa: PLC0415  # it takes a third of a second, and memory

    return OtelTracer(service, endpoint)


def read_traceparent(text: str | None) -> str | None:
    """Return a trace context if it is one, and None otherwise: what is wrong in it is nobody's error."""
    given = (text or "").strip().lower()
    return given if TRACEPARENT.fullmatch(given) else None


def find_current() -> str | None:
    """Return the context of the span that this program is in, if it uses OpenTelemetry itself."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def ending(span: Span) -> AbstractContextManager[Span]:
    """Have a span end with a block, as a failure when that raises."""
    return _Ending(span)


class _Ending(AbstractContextManager[Span]):
    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        return self._span

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._span.end(failure=str(error) or type(error).__name__ if error else "")
