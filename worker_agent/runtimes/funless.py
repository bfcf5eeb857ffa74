"""The runtime ``funless``: functions from JSON to JSON, for the interface ``fl_imps`` or, before 0.8, for WASI."""

from dataclasses import replace
from io import BytesIO

import msgspec

from piecework.http.exchange import Headers, Request
from piecework.modules import ModuleFacts
from piecework.modules.funless import ENTRY, FUNCTIONS, INTERFACE, is_funless
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError
from piecework.worker_agent.runtimes.answering import Answer, answer_json
from piecework.worker_agent.runtimes.base import Build, Call, CallResult, CodeFile, Program
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain, check_module
from piecework.worker_agent.runtimes.inputs import read_input, refuse_input
from piecework.worker_agent.runtimes.linkage import HostFunction
from piecework.worker_agent.runtimes.reactor import GuestInstance, Reactor, serve
from piecework.worker_agent.runtimes.services import DeniedError, GuestServices, ServiceError
from piecework.worker_agent.runtimes.streams import KeptOutput
from piecework.worker_agent.runtimes.verdict import GuestFailedError
from piecework.worker_agent.runtimes.wasi import WasiRuntime

NO_INPUT = b"{}"
"""What a function gets when its job has no input."""
METHODS = ("GET", "POST", "PUT", "DELETE")
_RESPONSE, _ERROR = 0, 1
"""What the function returns: which of the two it gave."""


class FunlessRuntime:
    """Loads functions of FunLess. They find no arguments, environment or files."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain
        self._wasi = WasiRuntime(toolchain)

    def recognises(self, facts: ModuleFacts) -> bool:
        return is_funless(facts)

    def load(self, code: CodeFile, build: Build) -> Program:
        module = self._toolchain.load(code, build)
        facts = check_module("funless", code)
        if ENTRY not in facts.exports:
            module.close()
            return OldFunction(self._wasi.load(code, build))
        host = FunlessHost()
        linkage = self._toolchain.make_linkage(build)
        for name, kind in FUNCTIONS.items():
            linkage.define(INTERFACE, name, kind.rstrip(">"), serve(name, host.find(name)), answers=False)
        return FunlessProgram(Reactor(module, facts, linkage, build), host)


class FunlessProgram:
    """A function for ``fl_imps``."""

    has_files = False

    def __init__(self, reactor: Reactor, host: "FunlessHost") -> None:
        self._reactor = reactor
        self._host = host

    def run(self, call: Call) -> CallResult:
        given = _read_json(call)
        if isinstance(given, CallResult):
            return given
        call.env = None
        with GuestServices(call.access, call.stop, journal=call.journal) as services:
            self._host.begin(call, given, services)
            return self._reactor.run(call, self._use, self._host.meet)

    def answer(self, call: Call, request: Request) -> Answer:
        return answer_json(self.run, call, request)

    def close(self) -> None:
        self._reactor.close()

    def _use(self, body: GuestInstance) -> None:
        host = self._host
        if host.call.rehearsal:
            return
        answer = body.call(ENTRY, len(host.given))
        if answer == _ERROR:
            raise GuestFailedError(
                host.error.decode(errors="replace") or "the function failed and does not say why"
            )
        if answer != _RESPONSE:
            raise GuestFailedError(f"{ENTRY} returned {answer}; it must return 0 for a response or 1 for an error")
        if host.response is None:
            raise GuestFailedError("the function returned, but gave no response")
        _check_output(host.response)
        host.call.output.write(host.response)


class FunlessHost:
    """The functions of ``fl_imps``, for the one guest that runs now."""

    call: Call
    body: GuestInstance
    services: GuestServices

    def begin(self, call: Call, given: bytes, services: GuestServices) -> None:
        """Forget the guest before."""
        self.call, self.given, self.services = call, given, services
        self.response: bytes | None = None
        self.error = b""

    def meet(self, body: GuestInstance) -> None:
        self.body = body

    def find(self, name: str) -> HostFunction:
        """Return the method for a function of the interface."""
        functions: dict[str, HostFunction] = {
            "__get_input_data": self._get_input,
            "__insert_response": self._insert_response,
            "__insert_error": self._insert_error,
            "__console_log": self._log,
            "__http_request": self._request,
        }
        return functions[name]

    def _get_input(self, pointer: int) -> None:
        self.body.write(pointer, self.given)

    def _insert_response(self, pointer: int, size: int) -> None:
        self.response = self.body.read_output(pointer, size)

    def _insert_error(self, pointer: int, size: int) -> None:
        self.error = self.body.read(pointer, min(size & 0xFFFF_FFFF, self.call.bounds.log_bytes))

    def _log(self, pointer: int, size: int) -> None:
        self.body.log(pointer, size)

    def _request(self, response: int, length: int, status: int, method: int, *texts: int) -> None:
        uri, headers, body = (self.body.read(*texts[place : place + 2]) for place in (0, 2, 4))
        try:
            if not 0 <= method < len(METHODS):
                raise ServiceError(f"there is no method {method}")
            found = self.services.fetch(Request(METHODS[method], uri.decode(), _parse_headers(headers), body))
        except (ServiceError, UnicodeDecodeError) as error:
            kind = "denied" if isinstance(error, DeniedError) else "failed"
            self.call.log.write(f"HTTP request {kind}: {error}\n".encode())
            self._answer(response, length, status, 0, b"")
        else:
            self._answer(response, length, status, found.status, found.body)

    def _answer(self, response: int, length: int, status: int, code: int, body: bytes) -> None:
        """Write an answer. The guest has room up to where the length goes, or to the end of its memory."""
        start, end = response & 0xFFFF_FFFF, (response & 0xFFFF_FFFF) + len(body)
        if body and start < (length & 0xFFFF_FFFF) + 4 and end > length & 0xFFFF_FFFF:
            raise GuestFailedError(f"the response of {len(body)} bytes has no room where the function wants it")
        self.body.write(status, code.to_bytes(2, "little"))
        self.body.write_u32(length, len(body))
        if body:
            self.body.write(response, body)


class OldFunction:
    """A function from before FunLess 0.8: a WASI command that reads and writes JSON."""

    has_files = False

    def __init__(self, command: Program) -> None:
        self._command = command

    def run(self, call: Call) -> CallResult:
        given = _read_json(call)
        if isinstance(given, CallResult):
            return given
        output = KeptOutput(call.bounds.output_bytes)
        outcome = self._command.run(replace(call, input=BytesIO(given), output=output, args=(), env=None))
        if outcome.error is not None or call.rehearsal:
            return outcome
        try:
            _check_output(bytes(output.data))
        except GuestFailedError as error:
            return CallResult(JobError(kind=ErrorKind.GUEST, message=str(error)), outcome.usage)
        call.output.write(memoryview(output.data))
        return outcome

    def answer(self, call: Call, request: Request) -> Answer:
        return answer_json(self.run, call, request)

    def close(self) -> None:
        self._command.close()


def _read_json(call: Call) -> bytes | CallResult:
    given = read_input(call)
    if isinstance(given, CallResult):
        return given
    given = given if given.strip() else NO_INPUT
    problem = find_problem(given)
    return refuse_input(f"the input is not JSON: {problem}") if problem else given


def _check_output(output: bytes) -> None:
    problem = "there is none" if not output.strip() else find_problem(output)
    if problem:
        raise GuestFailedError(f"the function's output is not JSON: {problem}")


def find_problem(text: bytes) -> str | None:
    """Return why a text is not JSON; None when it is."""
    try:
        text.decode()
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error)
    return None


def _parse_headers(text: bytes) -> Headers:
    """Return the headers in lines of ``name:value``."""
    pairs = [line.partition(":") for line in text.decode().split("\n") if ":" in line]
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)
