"""The runtime ``component``: WASI 0.2, as a command (``wasi:cli/run``) or as an HTTP handler (``wasi:http``).

A command that needs nothing else runs under wasmtime's own WASI. All others run under this project's host, which
has HTTP, writes where that is granted, and gives the same answers in every deterministic run.
"""

from wasmtime import Engine
from wasmtime.component import Component, ExportIndex

from piecework.http.exchange import Request
from piecework.modules import COMPONENT, ModuleFacts
from piecework.modules.component import HANDLE, RUN, find_entry, find_handler, needs_more
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError
from piecework.worker_agent.runtimes.answering import Answer, answer_command, deliver, settle
from piecework.worker_agent.runtimes.base import Build, Call, CallResult, CodeFile, LoadError
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain, check_facts, read_component_facts
from piecework.worker_agent.runtimes.component import capi
from piecework.worker_agent.runtimes.component.commands import CommandRunner
from piecework.worker_agent.runtimes.component.handlers import HostedRunner
from piecework.worker_agent.runtimes.inputs import read_input


class ComponentRuntime:
    """Loads components for WASI 0.2."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain

    def recognises(self, facts: ModuleFacts) -> bool:
        return find_entry(facts) is not None or find_handler(facts) is not None

    def load(self, code: CodeFile, build: Build) -> "ComponentProgram":
        if not capi.fits():
            raise LoadError("this node's wasmtime is another one than its host for components was written for")
        component, engine = self._toolchain.load_component(code, build), self._toolchain.component_engine(build)
        try:
            facts = check_facts(COMPONENT, read_component_facts(component, engine))
            return ComponentProgram(component, facts, engine, build)
        except LoadError:
            component.close()
            raise


class ComponentProgram:
    """One component, and the host's functions for it."""

    has_files = True

    def __init__(self, component: Component, facts: ModuleFacts, engine: Engine, build: Build) -> None:
        self._component = component
        self._needs_more = needs_more(facts)
        self._entry = _find_export(component, find_entry(facts), RUN)
        self._handler = _find_export(component, find_handler(facts), HANDLE)
        self._hosted = HostedRunner(component, engine, build)
        self._commands = CommandRunner(component, engine, build)

    def run(self, call: Call) -> CallResult:
        if self._entry is None:
            return self._run_handler(call)
        if self._needs_more or call.seed is not None or any(each.write for each in call.access.find_folders()):
            return self._hosted.run(self._entry, call)
        return self._commands.run(self._entry, call)

    def answer(self, call: Call, request: Request) -> Answer:
        if self._handler is None:
            return answer_command(self.run, call, request)
        return settle(*self._hosted.answer(self._handler, call, request))

    def close(self) -> None:
        """Free the compiled code. Safe to repeat."""
        self._hosted.close()
        self._commands.close()
        self._component.close()

    def _run_handler(self, call: Call) -> CallResult:
        """Run a job without a request: its input is posted, its output is the body of the response."""
        assert self._handler is not None
        given = read_input(call)
        if isinstance(given, CallResult):
            return given
        outcome, response = self._hosted.answer(self._handler, call, Request("POST", "/", (), given))
        if outcome.error is not None or call.rehearsal:
            return outcome
        if not 200 <= response.status <= 299:
            text = " ".join(response.body[:300].decode(errors="replace").split())
            message = f"it answered with the status {response.status}{text and f': {text}'}"
            return outcome._replace(error=JobError(kind=ErrorKind.GUEST, message=message))
        return deliver(call, outcome, response.body)


def _find_export(component: Component, interface: str | None, name: str) -> ExportIndex | None:
    """Return where a function is; None without its interface. Raises LoadError when it is not in there."""
    if interface is None:
        return None
    found = component.get_export_index(name, component.get_export_index(interface))
    if found is None:
        raise LoadError(f"the component exports {interface!r} without the function {name!r}")
    return found
