"""The runtime ``capsule``: functions of the Capsule launcher, of all four generations of its interface."""

from collections.abc import Callable
from typing import TypeVar

from piecework.modules import ModuleFacts
from piecework.modules.capsule import TEXT_HANDLER, find_generation, is_capsule
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from worker_agent.runtimes.base import Build, Call, Code, Outcome
from worker_agent.runtimes.capsule import envelopes
from worker_agent.runtimes.capsule.generations import GENERATIONS, Generation
from worker_agent.runtimes.capsule.host import REQUEST_ID, CapsuleHost, Turn
from worker_agent.runtimes.exchange import EnvelopeError, Request, Response, read_request, write_response
from worker_agent.runtimes.reactor import Body, Reactor, read_input, refuse_input
from worker_agent.runtimes.services import Services
from worker_agent.runtimes.streams import OutputFullError, ScratchError
from worker_agent.runtimes.toolchain import Toolchain, check_module
from worker_agent.runtimes.verdict import GuestFailedError, MemoryUse, judge

_T = TypeVar("_T")
MARKS_BYTES = 4096
"""What a guest may put around its output."""
VERSION_KEY = b"capsule_version"
"""The memory store starts with it."""
JSON_HANDLER = "callHandleJSON"
_FIRST, _LAST = ("OnLoad", "OnStart"), ("OnStop", "OnExit")
"""What a module may export to hear of the beginning and the end; the inner two when it serves HTTP."""


class CapsuleRuntime:
    """Loads functions of Capsule."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain

    def recognises(self, facts: ModuleFacts) -> bool:
        return is_capsule(facts)

    def load(self, code: Code, build: Build) -> "CapsuleProgram":
        module = self._toolchain.load(code, build)
        facts = check_module("capsule", module)
        generation = GENERATIONS[find_generation(facts) or 0]
        linkage = self._toolchain.make_linkage(build)
        host = CapsuleHost(generation, facts, linkage)
        return CapsuleProgram(Reactor(module, facts, linkage, build), facts, generation, host)


class CapsuleProgram:
    """One module. Each call gets an instance of its own."""

    def __init__(self, reactor: Reactor, facts: ModuleFacts, generation: Generation, host: CapsuleHost) -> None:
        self.generation = generation
        self._reactor = reactor
        self._exports = facts.exports
        self._host = host

    def run(self, call: Call) -> Outcome:
        """Run as a job: the input is a text or, in the mode ``http``, an envelope with a request."""
        given = read_input(call)
        if isinstance(given, Outcome):
            return given
        if call.mode != "http":
            arguments = [argument.encode() for argument in call.args]
            outcome, text = self.call_text(call, [*arguments, given] if given or not arguments else arguments)
            return _deliver(call, outcome, text)
        try:
            outcome, response = self.call_http(call, read_request(given))
        except EnvelopeError as error:
            return refuse_input(str(error))
        return _deliver(call, outcome, write_response(response))

    def call_text(self, call: Call, arguments: list[bytes]) -> tuple[Outcome, bytes]:
        """Call the handler of texts or, in the mode ``json``, that of JSON. Returns its answer, if any."""
        name = JSON_HANDLER if call.mode == "json" and JSON_HANDLER in self._exports else TEXT_HANDLER
        texts = [envelopes.join_arguments(arguments, self.generation)]
        outcome, answer = self._call(
            call, name, texts, lambda result: envelopes.read_text(result, self.generation)
        )
        return outcome, answer or b""

    def call_http(self, call: Call, request: Request) -> tuple[Outcome, Response]:
        """Call the handler of HTTP requests. An error of the handler is a response, too: with the status 500."""
        generation, asked = self.generation, None
        try:
            texts = envelopes.put_request(request, generation)
            asked = None if generation.passes else envelopes.join_request(request, generation)
        except envelopes.BadRequestError as error:
            return refuse_input(str(error)), Response(400, body=str(error).encode())
        outcome, response = self._call(
            call, generation.http_handler, texts, lambda result: envelopes.read_response(result, generation), asked
        )
        return outcome, response or Response(500, body=(outcome.error.message if outcome.error else "").encode())

    def inquire(self, call: Call, name: str) -> tuple[Outcome, Response]:
        """Call ``OnHealthCheck`` or ``OnMetrics``, whose answers are HTTP responses."""
        outcome, response = self._call(
            call, name, [], lambda result: envelopes.read_response(result, self.generation)
        )
        return outcome, response or Response(500, body=(outcome.error.message if outcome.error else "").encode())

    def close(self) -> None:
        """Free the compiled code. Safe to repeat."""
        self._reactor.close()

    def _call(
        self, call: Call, name: str, texts: list[bytes], read: Callable[[bytes], _T], asked: bytes | None = None
    ) -> tuple[Outcome, _T | None]:
        """Call an export with texts, or about the request that it will ask for, and read its answer."""
        if name not in self._exports:
            message = f"the module does not export {name!r}, which a call in the mode {call.mode!r} needs"
            return Outcome(JobError(kind=ErrorKind.LOAD, message=message), Usage()), None
        answers: list[_T] = []

        def use(body: Body) -> None:
            self._tell(body, _FIRST, call.mode)
            numbers = [REQUEST_ID] if asked is not None else [n for text in texts for n in _place(body, text)]
            packed = body.call(name, *numbers)
            result = body.read_output(packed >> 32, packed, spare_bytes=call.bounds.output_bytes + MARKS_BYTES)
            try:
                answers.append(read(result))
            except (envelopes.GuestError, envelopes.BadAnswerError) as error:
                raise GuestFailedError(str(error)) from None
            self._tell(body, _LAST, call.mode)

        with Services(call.access, call.stop, call.store) as services:
            services.store.set_default(VERSION_KEY, self.generation.version.encode())
            self._host.turn = Turn(call, self.generation, services, asked)
            outcome = self._reactor.run(call, use, self._host.meet)
        return outcome, answers[0] if answers and outcome.error is None else None

    def _tell(self, body: Body, hooks: tuple[str, str], mode: str) -> None:
        """Call those of two hooks that the module has; those named for starting and stopping are about serving."""
        for hook in hooks:
            served = hook in {"OnStart", "OnStop"}
            if self._exports.get(hook, "").startswith(">") and (mode == "http" or not served):
                body.call(hook)


def _place(body: Body, text: bytes) -> tuple[int, int]:
    """Put a text into room that the guest makes for it, and return its place and size."""
    pointer = body.call("malloc", max(1, len(text)))
    if not pointer:
        raise GuestFailedError(f"it has no room for an argument of {len(text)} bytes: out of memory")
    body.write(pointer, text)
    return pointer, len(text)


def _deliver(call: Call, outcome: Outcome, output: bytes) -> Outcome:
    """Make an answer the output of a job, if there is one."""
    if outcome.error is not None:
        return outcome
    try:
        call.output.write(output)
    except (OutputFullError, ScratchError) as failure:
        return Outcome(judge(failure, call, MemoryUse(0, 0)), outcome.usage)
    return outcome
