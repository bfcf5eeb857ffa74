"""Runtimes whose code is a script. An interpreter, itself a wasm module, runs it as ``wasi`` runs a command.

The script is the only file of its guest, read-only and in memory; the interpreter is compiled once per node.
"""

import re
from dataclasses import dataclass
from os import fsencode

from wasmtime import Module

from piecework.http.exchange import Request
from piecework.modules import ModuleError, ModuleFacts, check_script
from piecework.worker_agent.errors import BrokenBlobError
from piecework.worker_agent.runtimes.answering import Answer, answer_command
from piecework.worker_agent.runtimes.base import Build, Call, CallResult, CodeFile, LoadError
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain, link
from piecework.worker_agent.runtimes.linkage import GuestStore, Prepared
from piecework.worker_agent.runtimes.sandbox import Sandbox
from piecework.worker_agent.runtimes.scripting.interpreters import ARGS, HEAP, SCRIPT, Interpreter
from piecework.worker_agent.runtimes.scripting.lacking import explain_missing
from piecework.worker_agent.runtimes.streams import LogTail
from piecework.worker_agent.runtimes.verdict import GuestFailedError
from piecework.worker_agent.runtimes.wasi.fs.script_folder import ScriptFolder
from piecework.worker_agent.runtimes.wasi.guest import Guest, GuestExitError
from piecework.worker_agent.runtimes.wasi.host import WasiHost
from piecework.worker_agent.runtimes.wasi.memory import GuestMemory

SCRIPT_BYTES = 16 * 1024 * 1024
"""Size of the largest script: each process keeps those that it used last."""
TRACE_BYTES = 4000
HEAP_BYTES = 32 * 1024 * 1024
"""Most of a heap whose size is fixed at the start: each run pays for setting it up, 1 ms for this much."""
BESIDE_HEAP_BYTES = 768 * 1024
_FLUSH = b'import { out } from "qjs:std"; out.flush()'
_AS_MODULE = 1
"""``JS_EVAL_TYPE_MODULE``."""


@dataclass(frozen=True, slots=True)
class Machine:
    """An interpreter, compiled and linked."""

    interpreter: Interpreter
    host: WasiHost
    module: Module
    prepared: Prepared
    build: Build


class ScriptRuntime:
    """Loads scripts for one interpreter."""

    def __init__(self, toolchain: Toolchain, interpreter: Interpreter) -> None:
        self._toolchain = toolchain
        self._interpreter = interpreter
        self._machines: dict[Build, Machine] = {}

    def recognises(self, _facts: ModuleFacts) -> bool:
        return False

    def load(self, code: CodeFile, build: Build) -> "ScriptProgram":
        script = _read_script(code, self._interpreter.name)
        if build not in self._machines:
            self._machines[build] = self._assemble(build)
        return ScriptProgram(self._machines[build], script)

    def prepare(self, build: Build) -> None:
        """Have the interpreter compiled, for the first script not to wait. Raises as ``load``."""
        self._machines[build] = self._assemble(build)

    def _assemble(self, build: Build) -> Machine:
        interpreter = self._interpreter
        if interpreter.wasm is None:
            raise LoadError(f"this worker lacks the interpreter of {interpreter.name}: {interpreter.advice}")
        try:
            module = self._toolchain.load(CodeFile(interpreter.wasm, interpreter.find_checksum()), build)
        except BrokenBlobError:
            raise LoadError(f"{interpreter.wasm.name} has other bytes than its SHA-256 announces") from None
        linkage = self._toolchain.make_linkage(build)
        host = WasiHost(linkage)
        for stub, parameters in interpreter.stubs.items():
            module_name, _, function = stub.rpartition(".")
            linkage.define(module_name, function, parameters, _refuse, answers=True)
        return Machine(interpreter, host, module, link(linkage, module), build)


class ScriptProgram:
    """One script."""

    has_files = True

    def __init__(self, machine: Machine, script: bytes) -> None:
        self._machine = machine
        self._files = {machine.interpreter.script.encode(): script}

    def run(self, call: Call) -> CallResult:
        machine = self._machine
        with Sandbox(machine.host.linkage.engine, machine.prepared.open, machine.build, call) as sandbox:
            guest = Guest.start(call, GuestMemory(sandbox.guest_store))
            guest.args = tuple(_fill_argv(machine.interpreter, call))
            guest.files[guest.free_number()] = ScriptFolder(self._files, guest.random)
            machine.host.guest = guest
            try:
                return sandbox.run(lambda: self._enter(sandbox.guest_store, guest, call))
            finally:
                machine.host.guest = None
                guest.close()

    def answer(self, call: Call, request: Request) -> Answer:
        return answer_command(self.run, call, request)

    def close(self) -> None:
        """Do nothing: the interpreter serves other scripts, too."""

    def _enter(self, guest_store: GuestStore, guest: Guest, call: Call) -> None:
        try:
            guest.open_directories(call)
            guest_store.instantiate()
            if call.rehearsal:
                return
            if self._machine.interpreter.reactor:
                _run_quickjs(guest_store, guest)
            else:
                guest_store.call("_start")
        except GuestExitError as end:
            if end.code != 0:
                raise _explain(end, call.log, self._machine.interpreter) from None


def _read_script(code: CodeFile, runtime: str) -> bytes:
    size = code.path.stat().st_size
    if size > SCRIPT_BYTES:
        raise LoadError(f"the script has {size} bytes; a script has at most {SCRIPT_BYTES}")
    script = code.read()
    try:
        check_script(runtime, script)
    except ModuleError as error:
        raise LoadError(str(error)) from error
    return script


def _fill_argv(interpreter: Interpreter, call: Call) -> list[bytes]:
    heap = max(0, min(call.bounds.memory_bytes - BESIDE_HEAP_BYTES, HEAP_BYTES))
    filled: list[str] = []
    for part in interpreter.argv:
        single = part.replace(SCRIPT, interpreter.script).replace(HEAP, str(heap))
        filled += call.args if part == ARGS else (single,)
    return [fsencode(part) for part in filled]


def _refuse(*_arguments: int) -> int:
    return -1


def _run_quickjs(guest_store: GuestStore, guest: Guest) -> None:
    """Run a script with the reactor of QuickJS, as its command does. Raises GuestExitError."""
    guest_store.call("_initialize")
    pointers = [_place(guest_store, guest.memory, arg + b"\0") for arg in guest.args]
    argv = _place(guest_store, guest.memory, b"".join(pointer.to_bytes(4, "little") for pointer in (*pointers, 0)))
    # An exception was written to standard error by then.
    if guest_store.call("qjs_init_argv", len(pointers), argv):
        raise GuestExitError(1)
    context = guest_store.call("qjs_get_context") or 0
    if guest_store.call("js_std_loop", context):
        guest_store.call("js_std_dump_error", context)
        raise GuestExitError(1)
    # A command would do it at its exit.
    code, name = _place(guest_store, guest.memory, _FLUSH + b"\0"), _place(guest_store, guest.memory, b"exit\0")
    guest_store.call("JS_Eval", context, code, len(_FLUSH), name, _AS_MODULE)


def _place(guest_store: GuestStore, memory: GuestMemory, data: bytes) -> int:
    """Copy bytes into the guest's memory and return where they are."""
    pointer = guest_store.call("malloc", len(data)) or 0
    if not pointer:
        raise GuestFailedError("out of memory: there is no room for the arguments")
    memory.write(pointer, data)
    return pointer & 0xFFFF_FFFF


def _explain(end: GuestExitError, log: LogTail, interpreter: Interpreter) -> GuestFailedError:
    """Put together what an interpreter said at its end: complaint, line of the script, the whole as a trace."""
    text = log.read(at_most=TRACE_BYTES)[1].decode(errors="replace")
    # Where all interpreters of the table agree: what they indent is where it happened, not what.
    said = [found for found in re.finditer(r"(?m)^\S.*$", text) if found[0] != "stack traceback:"]
    if not said:
        return GuestFailedError(str(end), exit_code=end.code)
    complaint = said[-1]
    place = re.compile(re.escape(interpreter.script) + r'"?(?::|, line )(\d+)')
    # The innermost call comes first after the complaint, or last before it.
    places = [place.search(text, complaint.start()), *reversed([*place.finditer(text)])]
    found = next(filter(None, places), None)
    within = found is not None and complaint.start() <= found.start() < complaint.end()
    line = "" if found is None or within else f" (line {found[1]})"
    missing = explain_missing(complaint[0], interpreter.name)
    advice = f": {missing}" if missing else ""
    message = f"{end}: {complaint[0].strip()[:300]}{line}{advice}"
    return GuestFailedError(message, trace=text, exit_code=end.code)
