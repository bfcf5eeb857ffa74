"""The runtime ``capsule``: functions of the Capsule launcher, of all four generations of its interface."""

from collections.abc import Callable
from typing import TypeVar

from piecework.http.exchange import Request, Response
from piecework.modules import ModuleFacts
from piecework.modules.capsule import TEXT_HANDLER, find_generation, is_capsule
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from piecework.worker_agent.runtimes.answering import JSON_TYPE, TEXT_TYPE, Answer, deliver, pick_json, settle
from piecework.worker_agent.runtimes.base import Build, Call, CallResult, CodeFile
from piecework.worker_agent.runtimes.capsule import envelopes
from piecework.worker_agent.runtimes.capsule.generations import GENERATIONS, Generation
from piecework.worker_agent.runtimes.capsule.host import REQUEST_ID, CapsuleCall, CapsuleHost
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain, check_module
from piecework.worker_agent.runtimes.inputs import read_input, refuse_input
from piecework.worker_agent.runtimes.reactor import GuestInstance, Reactor
from piecework.worker_agent.runtimes.services import GuestServices
from piecework.worker_agent.runtimes.verdict import GuestFailedError

_T = TypeVar("_T")
MARKS_BYTES = 4096
"""What a guest may put around its output."""
VERSION_KEY = b"capsule_version"
"""The memory store starts with it."""
JSON_HANDLER = "callHandleJSON"
INQUIRIES = ("OnHealthCheck", "OnMetrics")
"""What a module may export to be asked how it is."""
_HOOK_TYPES = {">", ">i", ">I"}
_FIRST, _LAST = ("OnLoad", "OnStart"), ("OnStop", "OnExit")
"""What a module may export to hear of the beginning and the end; the inner two when it serves HTTP."""


class CapsuleRuntime:
    """Loads functions of Capsule."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain

    def recognises(self, facts: ModuleFacts) -> bool:
        return is_capsule(facts)

    def load(self, code: CodeFile, build: Build) -> "CapsuleProgram":
        module = self._toolchain.load(code, build)
        facts = check_module("capsule", code)
        generation = GENERATIONS[find_generation(facts) or 0]
        linkage = self._toolchain.make_linkage(build)
        host = CapsuleHost(generation, facts, linkage)
        return CapsuleProgram(Reactor(module, facts, linkage, build), facts, generation, host)


class CapsuleProgram:
    """One module. Each call gets an instance of its own."""

    has_files = False

    def __init__(self, reactor: Reactor, facts: ModuleFacts, generation: Generation, host: CapsuleHost) -> None:
        self.generation = generation
        self._reactor = reactor
        self._exports = facts.exports
        self._host = host

    def run(self, call: Call) -> CallResult:
        """Run as a job that is no request: the input is a text, or JSON in the mode ``json``."""
        given = read_input(call)
        if isinstance(given, CallResult):
            return given
        outcome, text = self._call_text(call, self._choose_handler(call.mode), given, served=call.rehearsal)
        return outcome if text is None else deliver(call, outcome, text)

    def answer(self, call: Call, request: Request) -> Answer:
        """Answer with the handler of HTTP requests, JSON or texts that there is, or that the mode names.

        The mode may also be ``OnHealthCheck`` or ``OnMetrics``, which take nothing and give a response.
        """
        if call.mode in INQUIRIES:
            return self._call_for_response(call, call.mode, [])
        handler = self._choose_handler(call.mode)
        if handler == self.generation.http_handler:
            return self._answer_http(call, request)
        try:
            given = pick_json(request) if handler == JSON_HANDLER else request.body
        except ValueError as error:
            return settle(refuse_input(str(error)))
        outcome, text = self._call_text(call, handler, given, served=True)
        return settle(outcome, Response(200, JSON_TYPE if handler == JSON_HANDLER else TEXT_TYPE, text or b""))

    def close(self) -> None:
        """Free the compiled code. Safe to repeat."""
        self._reactor.close()

    def _choose_handler(self, mode: str) -> str:
        """Return the best handler for a mode that the module has."""
        wanted = {"text": [], "json": [JSON_HANDLER]}.get(mode, [self.generation.http_handler, JSON_HANDLER])
        return next((name for name in wanted if name in self._exports), TEXT_HANDLER)

    def _call_text(
        self, call: Call, handler: str, given: bytes, *, served: bool = False
    ) -> tuple[CallResult, bytes | None]:
        """Call a handler of texts or JSON. Returns its answer, if there is one."""
        arguments = [argument.encode() for argument in call.args]
        if given or not arguments:
            arguments.append(given)
        texts = [envelopes.join_arguments(arguments, self.generation)]
        return self._call(
            call, handler, texts, lambda result: envelopes.read_text(result, self.generation), served
        )

    def _answer_http(self, call: Call, request: Request) -> Answer:
        """Call the handler of HTTP requests."""
        generation, asked = self.generation, None
        try:
            texts = envelopes.put_request(request, generation)
            asked = None if generation.passes else envelopes.join_request(request, generation)
        except envelopes.BadRequestError as error:
            return settle(refuse_input(str(error)))
        return self._call_for_response(call, generation.http_handler, texts, asked)

    def _call_for_response(self, call: Call, name: str, texts: list[bytes], asked: bytes | None = None) -> Answer:
        outcome, response = self._call(
            call, name, texts, lambda result: envelopes.read_response(result, self.generation), True, asked
        )
        return settle(outcome, response)

    def _call(
        self,
        call: Call,
        name: str,
        texts: list[bytes],
        read: Callable[[bytes], _T],
        served: bool,
        asked: bytes | None = None,
    ) -> tuple[CallResult, _T | None]:
        """Call an export with texts, or about the request that it will ask for, and read its answer."""
        if name not in self._exports:
            message = f"the module does not export {name!r}, which a call in the mode {call.mode!r} needs"
            return CallResult(JobError(kind=ErrorKind.LOAD, message=message), Usage()), None
        answers: list[_T] = []

        def use(body: GuestInstance) -> None:
            self._tell(body, _FIRST, served)
            if not call.rehearsal:
                numbers = [REQUEST_ID] if asked is not None else [n for text in texts for n in _place(body, text)]
                packed = body.call(name, *numbers)
                result = body.read_output(packed >> 32, packed, call.bounds.output_bytes + MARKS_BYTES)
                try:
                    answers.append(read(result))
                except (envelopes.GuestError, envelopes.BadAnswerError) as error:
                    raise GuestFailedError(str(error)) from None
            self._tell(body, _LAST, served)

        with GuestServices(call.access, call.stop, call.store, call.journal) as services:
            services.own_store.set_default(VERSION_KEY, self.generation.version.encode())
            self._host.turn = CapsuleCall(call, self.generation, services, asked)
            outcome = self._reactor.run(call, use, self._host.meet)
        return outcome, answers[0] if answers and outcome.error is None else None

    def _tell(self, body: GuestInstance, hooks: tuple[str, str], served: bool) -> None:
        """Call those of two hooks that the module has; those named for starting and stopping are about serving."""
        for hook in hooks:
            about_serving = hook in {"OnStart", "OnStop"}
            if self._exports.get(hook) in _HOOK_TYPES and (served or not about_serving):
                body.call(hook)


def _place(body: GuestInstance, text: bytes) -> tuple[int, int]:
    """Put a text into room that the guest makes for it, and return its place and size."""
    pointer = body.call("malloc", max(1, len(text)))
    if not pointer:
        raise GuestFailedError(f"it has no room for an argument of {len(text)} bytes: out of memory")
    body.write(pointer, text)
    return pointer, len(text)
