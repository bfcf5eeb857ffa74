"""Calls of functions that nothing serves: each becomes a job, and its output the answer."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from piecework.http.exchange import EnvelopeError, Request, Response, read_response, write_request
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobSpec
from piecework.protocol.states import JobState
from piecework.server.errors import CapacityReached, ServerError, Stopping
from piecework.server.forwarding.bodies import read_body
from piecework.server.forwarding.heads import headers_for_caller, headers_for_function
from piecework.server.forwarding.messages import JOB_HEADER, CallRefused, CallReply, FunctionCall, to_text
from piecework.server.services import Services
from piecework.server.services.callers import note_caller
from piecework.server.services.functions.routing import RevisionRoutes
from piecework.server.services.queue.reading.jobs import JobView
from piecework.server.services.queue.submitting.quotas import Allowed
from piecework.server.services.queue.waiting.pauses import wait_out


def call_as_job(services: Services, call: FunctionCall, path: str, revision: RevisionRoutes) -> CallReply:
    """Run a call as a job of the revision's lambda, and return its output when it ended. Raises CallRefused."""
    assert revision.lambda_id is not None, "there is something to run"
    body = read_body(call, services.settings.body_max_bytes)
    uri = f"{path or '/'}?{call.query}" if call.query else path or "/"
    given = headers_for_function(call, underscores=services.settings.underscore_headers)
    headers = tuple((name, to_text(value)) for name, value in given)
    request = Request(call.method, uri, headers, body)
    spec = _spec(services, revision.lambda_id, request)
    [id_] = services.submission.submit([spec], submitter=call.caller, allowed=_count_alone(call.allowed))
    named = (JOB_HEADER, str(id_))
    _refuse_hopeless(services, id_, named)
    try:
        _wait(services, id_, named)
    except (CapacityReached, Stopping) as error:
        _take_back(services, id_, named, error)
        raise
    [view] = services.jobs.get_many([id_], with_output=True)
    services.retention.note_read([view.job])
    return _read_end(services, view, call, named)


def _count_alone(allowed: Allowed | None) -> Allowed | None:
    """Have a job count as its token says. Which lambda it is of follows from the function, which was allowed."""
    return allowed and replace(allowed, quota=msgspec.structs.replace(allowed.quota, lambdas=()))


def _spec(services: Services, lambda_id: int, request: Request) -> JobSpec:
    """Return the job of a call: tried once, as a call is, and not begun when nobody waits for it any more."""
    now_s = services.clock() / 1000
    return JobSpec(
        lambda_=Id(lambda_id),
        input=Content(raw=write_request(request)),
        max_attempts=1,
        expires_at=datetime.fromtimestamp(now_s + services.settings.call_timeout_s, UTC),
    )


def _refuse_hopeless(services: Services, id_: int, named: tuple[str, str]) -> None:
    """Give a job up that no agent could run now: its caller waits, and gets nothing from it later."""
    wait = services.jobs.find_wait(services.jobs.get(id_))
    if wait and wait.reason.is_hopeless:
        services.jobs.cancel(id_)
        message = f"nothing serves the function, and no job of it could start: {wait.text}"
        raise CallRefused(503, "UNAVAILABLE", message, named)


def _wait(services: Services, id_: int, named: tuple[str, str]) -> None:
    note_caller(None)  # there is no answer before the job's end
    until = time.monotonic() + services.settings.call_timeout_s
    while not services.jobs.get(id_).state.is_final:
        left_s = until - time.monotonic()
        if left_s <= 0:
            waited_s = services.settings.call_timeout_s
            message = f"job {id_}, as which the call runs, has not ended within {waited_s:g} s"
            raise CallRefused(504, "GATEWAY_TIMEOUT", message, named)
        wait_out(services.jobs.wait_for_ends([id_], left_s, need_all=True))


def _take_back(services: Services, id_: int, named: tuple[str, str], why: ServerError) -> None:
    """Cancel a job for whose end nobody waits: its caller may call again. Raises CallRefused when it has begun."""
    if services.jobs.get(id_).attempt or services.jobs.cancel(id_).attempt:
        message = f"{why}; but job {id_}, as which the call runs, has begun and may have acted"
        raise CallRefused(502, "BAD_GATEWAY", message, named) from why


def _read_end(services: Services, view: JobView, call: FunctionCall, named: tuple[str, str]) -> CallReply:
    job = view.job
    if job.state is not JobState.FINISHED:
        reason = job.error.message if job.error else f"it is {job.state}"
        raise CallRefused(500, "FUNCTION_FAILED", f"job {job.id}, as which the call ran, failed: {reason}", named)
    limit_bytes = services.settings.body_max_bytes
    envelope = b"" if view.output is None else services.data.read(view.output, limit_bytes)
    if envelope is None:
        raise CallRefused(
            502, "BAD_GATEWAY", f"the output of job {job.id} has more than {limit_bytes} bytes", named
        )
    try:
        return _reply(read_response(envelope), call, named)
    except EnvelopeError as error:
        raise CallRefused(502, "BAD_GATEWAY", f"job {job.id} gave no HTTP answer: {error}", named) from error


def _reply(response: Response, call: FunctionCall, named: tuple[str, str]) -> CallReply:
    wire = tuple((name.lower(), value.encode().decode("latin-1")) for name, value in response.headers)
    fields = headers_for_caller(wire)
    length = [] if response.status in {204, 304} else [("Content-Length", str(len(response.body)))]
    body = b"" if call.method == "HEAD" or not length else response.body
    return CallReply(response.status, [*fields, *length, named], body)
