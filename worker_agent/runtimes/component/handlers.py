"""Components under this project's host: HTTP handlers, and commands that need more than wasmtime has."""

from collections.abc import Callable
from functools import cached_property

from msgspec.structs import replace
from wasmtime import Engine, WasmtimeError
from wasmtime.component import Component, ExportIndex, ResourceHost

from piecework.http.exchange import Request, Response
from piecework.worker_agent.runtimes.base import Build, Call, CallResult
from piecework.worker_agent.runtimes.component.commands import run_command
from piecework.worker_agent.runtimes.component.guest import ComponentExitError, ComponentGuest
from piecework.worker_agent.runtimes.component.host import ComponentHost
from piecework.worker_agent.runtimes.component.http_types import IN_REQUEST, OUTPARAM, InRequest, Outparam
from piecework.worker_agent.runtimes.component.store import ComponentStore
from piecework.worker_agent.runtimes.sandbox import Sandbox
from piecework.worker_agent.runtimes.verdict import GuestFailedError


class HostedRunner:
    """Runs one component. Must be closed."""

    def __init__(self, component: Component, engine: Engine, build: Build) -> None:
        self.component = component
        self._engine = engine
        self._build = build

    @cached_property
    def host(self) -> ComponentHost:
        """The host's functions, made when they are first wanted."""
        return ComponentHost(self._engine, self.component)

    def run(self, entry: ExportIndex, call: Call) -> CallResult:
        """Run a command. See ``Program``."""

        def act(hosted: "_HostedRun") -> None:
            code = run_command(hosted, entry)
            if code:
                raise ComponentExitError(code)

        return self._enter(call, ComponentGuest(call, is_command=True), act)

    def answer(self, handler: ExportIndex, call: Call, request: Request) -> tuple[CallResult, Response]:
        """Have a handler answer. The response means nothing when the call failed."""
        outparam = Outparam()

        def act(hosted: "_HostedRun") -> None:
            given = (InRequest(request), IN_REQUEST), (outparam, OUTPARAM)
            things = [ResourceHost.own(hosted.guest.keep(thing), kind) for thing, kind in given]
            hosted.find(handler)(hosted.store, *things)
            outparam.check()

        outcome = self._enter(call, ComponentGuest(call, is_command=False), act)
        return outcome, Response() if outcome.error or call.rehearsal else outparam.make_response()

    def close(self) -> None:
        """Free it. Safe to repeat."""
        if "host" in vars(self):
            self.host.close()

    def _enter(self, call: Call, guest: ComponentGuest, act: Callable[["_HostedRun"], None]) -> CallResult:
        hosted = _HostedRun(self._engine, self.host, self.component, guest)
        with Sandbox(self._engine, hosted.open, self._build, call) as sandbox:
            outcome = sandbox.run(lambda: hosted.enter(None if call.rehearsal else act))
            return outcome._replace(usage=replace(outcome.usage, memory_bytes=None))


class _HostedRun(ComponentStore):
    """One run of a component."""

    def __init__(self, engine: Engine, host: ComponentHost, component: Component, guest: ComponentGuest) -> None:
        super().__init__(engine)
        self.guest = guest
        self._host = host
        self._component = component

    def enter(self, act: Callable[["_HostedRun"], None] | None) -> None:
        """Run the guest. Raises what ended it, unless it ended well."""
        host = self._host
        host.begin(self.guest)
        try:
            self.instantiate()
            if act is not None:
                act(self)
        except ComponentExitError as end:
            _judge_exit(end)
        except WasmtimeError as end:
            failure = host.failure
            if failure is None:
                raise
            if not isinstance(failure, ComponentExitError):
                raise failure from end
            _judge_exit(failure)
        finally:
            host.guest = None
            self.guest.close()

    def instantiate(self) -> None:
        self.instance = self._host.linker.instantiate(self.store, self._component)


def _judge_exit(end: ComponentExitError) -> None:
    if end.code:
        raise GuestFailedError(str(end), exit_code=end.code) from None
