"""Spans as OpenTelemetry records them, sent by OTLP over HTTP. The only module that imports it."""

import time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span as ApiSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from piecework import __version__
from piecework.tracing import Attributes, Span

SEND_S = 5.0
"""How long one sending may take."""
FLUSH_MS = 5_000
"""How long the end of a program waits for what is left to be sent."""
_NONE: Attributes = {}


class OtelSpan:
    """A span that is being recorded."""

    def __init__(self, span: ApiSpan) -> None:
        self._span = span
        context = span.get_span_context()
        flags = int(context.trace_flags)
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"

    def end(self, attributes: Attributes = _NONE, *, failure: str = "", at_s: float | None = None) -> None:
        self._span.set_attributes(dict(attributes))
        if failure:
            self._span.set_status(Status(StatusCode.ERROR, failure[:500]))
        self._span.end(_ns(time.time() if at_s is None else at_s))


class OtelTracer:
    """Records spans of one service."""

    def __init__(self, service: str, endpoint: str) -> None:
        resource = Resource.create({"service.name": service, "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("piecework", __version__)

    def begin(
        self, name: str, parent: str | None, attributes: Attributes = _NONE, *, at_s: float | None = None
    ) -> Span:
        context = None
        if parent is not None:
            _, trace, span, flags = parent.split("-")
            given = SpanContext(
                int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
            )
            context = set_span_in_context(NonRecordingSpan(given))
        began = self._tracer.start_span(
            name, context, attributes=dict(attributes), start_time=_ns(time.time() if at_s is None else at_s)
        )
        return OtelSpan(began)

    def close(self) -> None:
        self._provider.force_flush(FLUSH_MS)
        self._provider.shutdown()


def _ns(at_s: float) -> int:
    return round(at_s * 1_000_000_000)
