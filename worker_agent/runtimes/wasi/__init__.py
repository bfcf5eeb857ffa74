"""The runtime ``wasi``: a WASI preview 1 command. Standard input to standard output; standard error is the log."""

from wasmtime import Module

from piecework.http.exchange import Request
from piecework.modules import ModuleFacts
from piecework.worker_agent.runtimes.answering import Answer, answer_command
from piecework.worker_agent.runtimes.base import Build, Call, CallResult, CodeFile
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain, check_module, link
from piecework.worker_agent.runtimes.linkage import GuestStore, Prepared
from piecework.worker_agent.runtimes.sandbox import Sandbox
from piecework.worker_agent.runtimes.verdict import GuestFailedError
from piecework.worker_agent.runtimes.wasi.guest import Guest, GuestExitError
from piecework.worker_agent.runtimes.wasi.host import WasiHost
from piecework.worker_agent.runtimes.wasi.memory import GuestMemory

ENTRY = "_start"


class WasiRuntime:
    """Loads WASI commands. All of preview 1 is there, but sockets; directories where they are granted."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain
        self._hosts: dict[Build, WasiHost] = {}

    def recognises(self, facts: ModuleFacts) -> bool:
        return ENTRY in facts.exports

    def load(self, code: CodeFile, build: Build) -> "WasiProgram":
        module = self._toolchain.load(code, build)
        check_module("wasi", code)
        if build not in self._hosts:
            self._hosts[build] = WasiHost(self._toolchain.make_linkage(build))
        host = self._hosts[build]
        return WasiProgram(module, link(host.linkage, module), host, build)


class WasiProgram:
    """One command, linked with its host."""

    has_files = True

    def __init__(self, module: Module, prepared: Prepared, host: WasiHost, build: Build) -> None:
        self._module = module
        self._prepared = prepared
        self._host = host
        self._build = build

    def run(self, call: Call) -> CallResult:
        with Sandbox(self._host.linkage.engine, self._prepared.open, self._build, call) as sandbox:
            guest_store = sandbox.guest_store
            guest = self._host.guest = Guest.start(call, GuestMemory(guest_store))
            try:
                return sandbox.run(lambda: _enter(guest_store, guest, call))
            finally:
                self._host.guest = None
                guest.close()

    def answer(self, call: Call, request: Request) -> Answer:
        return answer_command(self.run, call, request)

    def close(self) -> None:
        self._prepared.close()
        self._module.close()


def _enter(guest_store: GuestStore, guest: Guest, call: Call) -> None:
    try:
        guest.open_directories(call)
        guest_store.instantiate()
        if not call.rehearsal:
            guest_store.call(ENTRY)
    except GuestExitError as end:
        if end.code != 0:
            raise GuestFailedError(str(end), exit_code=end.code) from None
