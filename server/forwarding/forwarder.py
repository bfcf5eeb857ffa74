"""Sending a call to one of the URLs of its revision, and to another when that one fails."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO

from piecework.http.answers import Broken, NotHttp
from piecework.http.connections import NotSent
from piecework.server.forwarding.bodies import StreamedBody, prepare_body
from piecework.server.forwarding.heads import headers_for_caller, headers_for_function
from piecework.server.forwarding.messages import CallRefused, CallReply, FunctionCall, Unreached
from piecework.server.forwarding.upstreams import (
    Dead,
    Upstream,
    UpstreamAnswer,
    UpstreamExchange,
    Upstreams,
    is_timeout,
    may_repeat,
)
from piecework.server.services.functions.health import Health, tell_dead
from piecework.server.services.functions.routing import RevisionRoutes, Target
from piecework.server.settings import Settings

MISDIRECTED = 421
"""A replica that got another one's token has not acted: ask another, whatever the method (RFC 9110, 15.5.20)."""
LEFT = 499
"""What counts as the status of a call whose caller left before the answer; nobody gets it."""
HEAD_MAX_BYTES = 64 * 1024
"""First line and headers of a call are no longer than this."""
WHOLE_BYTES = 64 * 1024
"""A body whose length is told and no larger than this is sent on in one piece."""


class Forwarder:
    """Passes calls on. Safe to share between threads."""

    def __init__(self, upstreams: Upstreams, health: Health, settings: Settings) -> None:
        self._upstreams = upstreams
        self._health = health
        self._settings = settings

    def forward(
        self, call: FunctionCall, path: str, revision: RevisionRoutes, targets: Sequence[Target]
    ) -> CallReply:
        """Return the answer of the first of the targets that gives one.

        What was sent to one and may have been acted on is sent to another only when it may be repeated. Raises
        CallRefused, or Unreached when none took it; one that breaks off while its body comes raises Broken there.
        """
        body = prepare_body(call, self._settings.call_body_max_bytes)
        headers = headers_for_function(call, underscores=self._settings.underscore_headers)
        for place, target in enumerate(targets, 1):
            upstream = self._upstreams.get(target.url)
            head = _write_head(call, path, headers, upstream, target)
            try:
                return self._receive(call, self._send(call, head, body, upstream, target), target)
            except (Broken, NotHttp) as error:
                if call.disconnect.is_noted:
                    raise CallRefused(LEFT, "LEFT", "the caller left") from error
                self._note_failure(target, error)
                if place == len(targets) or not may_repeat(call, body, error):
                    raise self._explain(revision, error, call, body) from error
        raise AssertionError("there is a target")

    def _send(
        self, call: FunctionCall, head: bytes, body: bytes | StreamedBody, upstream: Upstream, target: Target
    ) -> UpstreamExchange:
        exchange = upstream.exchange(call, head, body, self._settings.call_timeout_s)
        if target.token and exchange.answer.status == MISDIRECTED:
            exchange.read_to_end()
            raise NotSent("another replica is there now")
        return exchange

    def _receive(self, call: FunctionCall, exchange: UpstreamExchange, target: Target) -> CallReply:
        """Return the answer; whole when it is short, so that one that breaks off can still be had elsewhere."""
        answer, headers = exchange.answer, headers_for_caller(tuple(exchange.answer.fields))
        length = answer.headers.get("content-length", "")
        if answer.complete or (length.isdecimal() and int(length) <= WHOLE_BYTES):
            body = exchange.read_to_end()
            self._health.note_success(target.url)
            return CallReply(answer.status, [*headers, *_tell_length(answer, length, body)], body)
        self._health.note_success(target.url)
        if length:
            headers.append(("Content-Length", length))
        return CallReply(answer.status, headers, self._watch(call, exchange.pieces(), target))

    def _watch(self, call: FunctionCall, pieces: Iterator[bytes], target: Target) -> Iterator[bytes]:
        try:
            yield from pieces
        except (Broken, NotHttp) as error:
            # Nobody can say how often events should come.
            if not (is_timeout(error) or call.disconnect.is_noted):
                self._note_failure(target, error)
            raise

    def _note_failure(self, target: Target, error: Broken | NotHttp) -> None:
        """Have calls pass the URL by for a while."""
        self._health.note_failure(target.url, self._diagnose(error), is_dead=isinstance(error, Dead))

    def _diagnose(self, error: Broken | NotHttp) -> str:
        """Say what is wrong with a URL."""
        if isinstance(error, Dead):
            return tell_dead(str(error))
        if isinstance(error, NotHttp):
            return f"it did not answer in HTTP: {error}"
        if is_timeout(error):
            return f"it was silent for {self._settings.call_timeout_s:g} s"
        return f"a call failed there: {error}"

    def _explain(
        self, revision: RevisionRoutes, error: Broken | NotHttp, call: FunctionCall, body: bytes | StreamedBody
    ) -> CallRefused:
        name = _name(revision)
        if isinstance(error, NotHttp):
            return CallRefused(502, "BAD_GATEWAY", f"{name} did not answer in HTTP, and may have acted: {error}")
        if isinstance(error, NotSent):
            why = f"{name} cannot be reached: {error}"
            if isinstance(body, StreamedBody):
                return CallRefused(502, "BAD_GATEWAY", why) if body.begun else Unreached(call, why)
            return Unreached(replace(call, body=BytesIO(body), length=len(body)), why)
        if is_timeout(error):
            timeout_s = self._settings.call_timeout_s
            return CallRefused(
                504, "GATEWAY_TIMEOUT", f"{name} did not answer within {timeout_s:g} s; it may have acted"
            )
        return CallRefused(
            502, "BAD_GATEWAY", f"{name} broke off before its answer was complete; it may have acted"
        )


def _write_head(
    call: FunctionCall, path: str, headers: Sequence[tuple[str, str]], upstream: Upstream, target: Target
) -> bytes:
    """Return the first line and the headers that are sent to a URL. Raises CallRefused when they are too long."""
    lines = [
        f"{call.method} {upstream.target(path, call.query)} HTTP/1.1",
        f"Host: {upstream.authority}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    if call.length is None:
        lines.append("Transfer-Encoding: chunked")
    if target.token:
        lines.append(f"Piecework-Replica-Token: {target.token}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    if len(head) > HEAD_MAX_BYTES:
        raise CallRefused(431, "HEADERS_TOO_LARGE", f"path and headers have more than {HEAD_MAX_BYTES} bytes")
    return head


def _tell_length(answer: UpstreamAnswer, told: str, body: bytes) -> list[tuple[str, str]]:
    """Return the header with the length of a body that is all there; without a body it is what the URL told."""
    if answer.without_body or answer.status in {204, 304}:
        return [("Content-Length", told)] if told else []
    return [("Content-Length", str(len(body)))]


def _name(revision: RevisionRoutes) -> str:
    return f"the revision {revision.name} of {revision.function}"
