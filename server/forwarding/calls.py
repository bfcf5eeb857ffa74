"""What becomes of a call: who may call, which revision answers, and what is counted of it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import unquote

import structlog

from piecework.server.errors import Forbidden, ServerError
from piecework.server.forwarding.forwarder import Forwarder
from piecework.server.forwarding.jobs import call_as_job
from piecework.server.forwarding.messages import (
    JOB_HEADER,
    NO_ROUTE,
    CallRefused,
    CallReply,
    FunctionCall,
    Unreached,
)
from piecework.server.forwarding.paths import read_place
from piecework.server.forwarding.upstreams import Upstreams
from piecework.server.services import Services
from piecework.server.services.functions.routing import RevisionRoutes, Table
from piecework.server.services.queue.submitting.quotas import find_allowed, refuse
from piecework.server.web.errors import HTTP_STATUS, find_retry_after_s
from piecework.server.web.refusals import naming, note_refusal

log = structlog.get_logger("server")

_PASSABLE_UPGRADES = {"", "h2c"}
"""h2c offers to speak HTTP/2 from now on, and may be ignored (RFC 9110, section 7.8)."""


class CallForwarding:
    """Answers calls of functions. Safe to share between threads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._upstreams = Upstreams()
        self._forwarder = Forwarder(self._upstreams, services.health, services.settings)
        self._free = threading.BoundedSemaphore(services.settings.calls_max)
        self._pruned: Table | None = None

    def answer(self, call: FunctionCall) -> CallReply:
        """Return the answer to a call, whatever happens."""
        if not self._free.acquire(blocking=False):
            busy = f"{self._services.settings.calls_max} calls are under way, which is what this server passes on"
            return CallRefused(503, "BUSY", f"{busy}; try again").reply()
        reply = None
        try:
            reply = self._answer(call)
        finally:
            if reply is None or isinstance(reply.body, bytes):
                self._free.release()
            else:
                reply.body = _Held(iter(reply.body), self._free.release)
        return reply

    def _answer(self, call: FunctionCall) -> CallReply:
        try:
            return self._route(call)
        except CallRefused as refusal:
            return refusal.reply()
        except ServerError as error:
            self._note(call, error)
            return _explain(error).reply()

    def _note(self, call: FunctionCall, error: ServerError) -> None:
        """Have the audit tell of a call that was refused. A function is named if there is such a one."""
        name = unquote(call.path.partition("/")[0])
        with suppress(ServerError):
            known = name in self._services.routing.table()
            target = f"call /functions/{name if known else '<function>'}"
            note_refusal(self._services, error, target, call.peer, call.find_header("x-forwarded-for"))

    def _route(self, call: FunctionCall) -> CallReply:
        if not (call.is_let_in or self._services.settings.functions_open):
            token = self._services.access.check("invoke", _Headers(call))
            call = replace(call, caller=token.name, allowed=find_allowed(token)) if token else call
        if call.find_header("upgrade").lower() not in _PASSABLE_UPGRADES:
            raise CallRefused(
                501, "NOT_IMPLEMENTED", "functions are called by HTTP requests: there are no web sockets"
            )
        place = read_place(call.path)
        if call.allowed and not call.allowed.quota.allows(place.function):
            with naming(call.caller):
                raise Forbidden(refuse(call.allowed.name, call.allowed.quota, f"function {place.function}"))
        self._prune()
        function = self._services.routing.get_function(place.function)
        name, path = place.split(function.revisions)
        with naming(call.caller):
            return self._count(call, path, self._services.routing.choose(function, name))

    def _count(self, call: FunctionCall, path: str, revision: RevisionRoutes) -> CallReply:
        began, status = time.perf_counter(), 500
        headers: Sequence[tuple[str, str]] = ()
        try:
            reply = self._trace(call, path, revision)
            status, headers = reply.status, reply.headers
        except CallRefused as refusal:
            status, headers = refusal.status, refusal.headers
            raise
        finally:
            as_job = any(name == JOB_HEADER for name, _ in headers)
            took_s = time.perf_counter() - began
            self._services.calls.note(revision.function, revision.name, status, took_s, as_job=as_job)
        return reply

    def _trace(self, call: FunctionCall, path: str, revision: RevisionRoutes) -> CallReply:
        """Answer a call as a part of its caller's trace; what it becomes is a part of the call."""
        if not self._services.traces.is_on:
            return self._call(call, path, revision)
        names = {"piecework.function": revision.function, "piecework.revision": revision.name}
        with self._services.traces.within("call", call.find_header("traceparent"), names) as traceparent:
            kept = tuple((name, value) for name, value in call.headers if name != "traceparent")
            headers = (*kept, ("traceparent", traceparent or ""))
            return self._call(replace(call, headers=headers), path, revision)

    def _call(self, call: FunctionCall, path: str, revision: RevisionRoutes) -> CallReply:
        targets = self._services.routing.order(revision)
        if targets:
            try:
                return self._forwarder.forward(call, path, revision, targets)
            except Unreached as unreached:
                if revision.lambda_id is None:
                    raise
                call = unreached.call
        if revision.lambda_id is not None:
            return call_as_job(self._services, call, path, revision)
        name = f"the revision {revision.name} of {revision.function}"
        raise CallRefused(503, "UNAVAILABLE", f"{name} has no URL now, and no lambda that could run as a job")

    def _prune(self) -> None:
        """Forget what is no longer routed to, when the routes have changed."""
        table = self._services.routing.table()
        if table is self._pruned:
            return
        self._pruned = table
        revisions = [each for function in table.values() for each in function.revisions.values()]
        urls = {target.url for each in revisions for target in each.targets}
        self._upstreams.keep(urls)
        self._services.health.keep(urls)
        self._services.calls.keep({(each.function, each.name) for each in revisions})


class _Held:
    """A body that comes in pieces, and what is to be done once it was gone through or given up."""

    def __init__(self, pieces: Iterator[bytes], release: Callable[[], object]) -> None:
        self._pieces = pieces
        self._release: Callable[[], object] | None = release

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it. Safe to repeat."""
        release, self._release = self._release, None
        if release is not None:
            release()
            close = getattr(self._pieces, "close", None)
            if close is not None:
                close()


class _Headers:
    """A call's headers, as the guard reads them."""

    def __init__(self, call: FunctionCall) -> None:
        self._call = call

    def get(self, name: str, /) -> str | None:
        return self._call.find_header(name.lower()) or None


def _explain(error: ServerError) -> CallRefused:
    status = HTTP_STATUS[type(error)]
    if status == 404:
        return CallRefused(404, "ERROR", NO_ROUTE)
    if status >= 500:
        log.error("a call failed", error=str(error))
    after_s = find_retry_after_s(error, status) if status == 429 else None
    asks = [] if after_s is None else [("Retry-After", str(after_s))]
    asks += [("WWW-Authenticate", 'Bearer realm="piecework"')] if status == 401 else []
    return CallRefused(status, error.code.name, str(error), *asks)
