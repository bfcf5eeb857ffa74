"""How programs answer HTTP requests: in jobs of the mode ``http``, and in functions that are served."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from urllib.parse import parse_qsl

import msgspec

from piecework.http.exchange import (
    EnvelopeError,
    Request,
    Response,
    check_headers,
    read_request,
    write_response,
)
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError
from piecework.worker_agent.runtimes.base import Call, CallResult, Program
from piecework.worker_agent.runtimes.gateway import CgiAnswerError, CgiRequestError, make_variables, read_answer
from piecework.worker_agent.runtimes.inputs import read_input, refuse_input
from piecework.worker_agent.runtimes.streams import KeptOutput, OutputFullError, ScratchError
from piecework.worker_agent.runtimes.verdict import MemoryUse, judge

HTTP = "http"
"""The mode of jobs whose input is a request and whose output is the response."""
RESPONSE_BYTES = 64 * 1024 * 1024
"""No response has a larger body: it is held in memory."""
FIELDS = 1000
"""Most parts of a query that becomes JSON."""
JSON_TYPE = (("Content-Type", "application/json"),)
TEXT_TYPE = (("Content-Type", "text/plain; charset=utf-8"),)
NO_JSON = b"{}"
_STATUSES = {ErrorKind.INPUT: 400, ErrorKind.TIMEOUT: 504}
"""Of calls that failed; of all others it is 500."""

Run = Callable[[Call], CallResult]
Answer = tuple[CallResult, Response]


def run_request(program: Program, call: Call) -> CallResult:
    """Run a job in the mode ``http``: its input and output are envelopes with a request and its response."""
    given = read_input(call)
    if isinstance(given, CallResult):
        return given
    try:
        request = read_request(given)
    except EnvelopeError as error:
        return refuse_input(str(error))
    outcome, response = ask(program, replace(call), request)
    return outcome if outcome.error is not None else deliver(call, outcome, write_response(response))


def ask(program: Program, call: Call, request: Request) -> Answer:
    """Have a program answer, with no more than a response may have: the call is held to that, too."""
    limit = min(call.bounds.output_bytes, RESPONSE_BYTES)
    call.bounds = msgspec.structs.replace(call.bounds, output_bytes=limit)
    outcome, response = program.answer(call, request)
    if outcome.error is not None:
        return outcome, response
    if len(response.body) > limit:
        return settle(outcome._replace(error=judge(OutputFullError(), call, MemoryUse(0, 0))))
    try:
        check_headers(response.headers)
    except ValueError as error:
        refused = JobError(kind=ErrorKind.GUEST, message=f"its answer to an HTTP request is not right: {error}")
        return settle(outcome._replace(error=refused))
    return outcome, response


def answer_command(run: Run, call: Call, request: Request) -> Answer:
    """Have a command answer, as CGI has it: the body is its standard input."""
    try:
        env = make_variables(request, call.env or {})
    except CgiRequestError as error:
        return settle(refuse_input(str(error)))
    outcome, output = _gather(run, replace(call, input=BytesIO(request.body), env=env))
    if outcome.error is not None:
        return settle(outcome)
    try:
        return outcome, read_answer(output)
    except CgiAnswerError as error:
        return settle(outcome._replace(error=JobError(kind=ErrorKind.GUEST, message=str(error))))


def answer_json(run: Run, call: Call, request: Request) -> Answer:
    """Have a function from JSON to JSON answer."""
    try:
        given = pick_json(request)
    except ValueError as error:
        return settle(refuse_input(str(error)))
    outcome, output = _gather(run, replace(call, input=BytesIO(given)))
    return settle(outcome, Response(200, JSON_TYPE, output))


def pick_json(request: Request) -> bytes:
    """Return the JSON that a request carries: its body or, when there is none, its query as an object of texts.

    Raises ValueError when the query has too many parts.
    """
    query = request.uri.partition("?")[2]
    if request.body.strip() or not query:
        return request.body or NO_JSON
    return msgspec.json.encode(dict(parse_qsl(query, keep_blank_values=True, max_num_fields=FIELDS)))


def settle(outcome: CallResult, response: Response | None = None) -> Answer:
    """Return what a call came to, and what its caller gets.

    That a guest says itself that it failed is an answer, too, with the status 500.
    """
    error = outcome.error
    if error is None:
        return outcome, response or Response()
    body = msgspec.json.encode({"error": error.message, "kind": error.kind})
    refusal = Response(_STATUSES.get(error.kind, 500), JSON_TYPE, body)
    return (outcome._replace(error=None) if error.kind is ErrorKind.GUEST else outcome), refusal


def deliver(call: Call, outcome: CallResult, output: bytes) -> CallResult:
    """Make this the output of a job that went well."""
    try:
        call.output.write(output)
    except (OutputFullError, ScratchError) as failure:
        return outcome._replace(error=judge(failure, call, MemoryUse(0, 0)))
    return outcome


def _gather(run: Run, call: Call) -> tuple[CallResult, bytes]:
    """Run a program, and return its output beside the outcome."""
    output = KeptOutput(call.bounds.output_bytes)
    outcome = run(replace(call, output=output))
    return outcome, bytes(output.data)
