"""From code to machine code: one wasmtime engine per build, and compiled modules that outlive the process."""

import hashlib
import platform
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import wasmtime
from wasmtime import _bindings as bindings
from wasmtime.component import Component

from piecework import __version__
from piecework.modules import CHECKS, ModuleError, ModuleFacts
from piecework.modules.binary import HEADER_BYTES, inspect_component, inspect_module, is_component
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.base import COMPILE_BYTES, Build, CodeFile, LoadError
from piecework.worker_agent.runtimes.compiling.compiled import CompiledStore
from piecework.worker_agent.runtimes.compiling.headroom import bounding_growth, work_behind
from piecework.worker_agent.runtimes.compiling.refusals import TOO_LARGE, Refusal
from piecework.worker_agent.runtimes.linkage import Linkage, LinkageMaker, Prepared
from piecework.worker_agent.runtimes.linkage.choice import (
    PLAIN_STACK_BYTES,
    choose_linkage,
    make_engine,
    make_stack_room,
)
from piecework.worker_agent.runtimes.linkage.installed import find_version

_Code = TypeVar("_Code", wasmtime.Module, Component)
_NO_MEMORY = ("mmap failed", "Cannot allocate memory", "failed to allocate")
"""In what wasmtime says when it got no memory for what it compiled."""
ENGINE_REVISION = 5
"""Raised whenever the settings in ``_configure`` change: machine code compiled before does not fit them."""


PULLEY = "pulley64"
"""The target whose code wasmtime interprets."""
_ENGINE_MARKS: dict[Engine, str] = {"cranelift": "", "cranelift-none": "n", "pulley": "p"}
"""How the names of compiled modules tell engines apart."""


class Toolchain:
    """Compiles modules, each once per node, and gives out the engines that run them.

    Belongs to one process: nothing here survives a fork after a module was compiled.
    """

    def __init__(
        self,
        compiled: Path,
        make_linkage: LinkageMaker | None = None,
        *,
        patience_s: float | None = None,
        memory_bytes: int = COMPILE_BYTES,
    ) -> None:
        """Keep machine code in the folder ``compiled``. ``make_linkage`` None: the fastest that works here.

        Compiling that takes longer than ``patience_s`` ends the process; why code could not be compiled is kept,
        too. None: there is no end, and nothing is kept but machine code. ``memory_bytes`` is what compiling one
        module may take.
        """
        self._folder = compiled
        self._patience_s = patience_s
        self._memory_bytes = memory_bytes
        self._make_linkage = make_linkage
        self._engines: dict[Build, wasmtime.Engine] = {}
        self._component_engines: dict[Build, wasmtime.Engine] = {}

    def engine(self, build: Build) -> wasmtime.Engine:
        """Return the engine for a build, always the same."""
        if build not in self._engines:
            self._engines[build] = make_engine(partial(_configure, build))
        return self._engines[build]

    def component_engine(self, build: Build) -> wasmtime.Engine:
        """Return the engine for components of a build, always the same.

        It has no pool: a component is any number of instances, of which the pool would hold too few.
        """
        if build not in self._component_engines:
            config = _configure(build)
            # No limit would hold for memory that is shared, and nobody looks at each module in a component.
            config.wasm_threads = False
            self._component_engines[build] = wasmtime.Engine(config)
        return self._component_engines[build]

    def make_linkage(self, build: Build) -> Linkage:
        """Return a new linkage, without any function, for a build's engine."""
        if self._make_linkage is None:
            self._make_linkage = choose_linkage()
        return self._make_linkage(self.engine(build))

    def load(self, code: CodeFile, build: Build) -> wasmtime.Module:
        """Return a module ready to be instantiated, compiled at most once per node.

        Raises LoadError when the code is no valid module, BrokenBlobError or OSError when it cannot be read.
        """
        if read_is_component(code):
            raise LoadError("the code is a WebAssembly component; only the runtime 'component' runs those")
        return self._load(wasmtime.Module, self.engine(build), code, build)

    def load_component(self, code: CodeFile, build: Build) -> Component:
        """Return a component ready to be instantiated, compiled at most once per node. Raises as ``load``."""
        if not read_is_component(code):
            raise LoadError("the code is a core module, not a WebAssembly component; it needs another runtime")
        return self._load(Component, self.component_engine(build), code, build)

    def find_facts(self, code: CodeFile, build: Build) -> ModuleFacts:
        """Return what code of either kind imports and exports. Raises as ``load``."""
        if read_is_component(code):
            with self.load_component(code, build) as component:
                return read_component_facts(component, self.component_engine(build))
        self.load(code, build).close()
        return read_facts(code)

    def _load(self, kind: type[_Code], engine: wasmtime.Engine, code: CodeFile, build: Build) -> _Code:
        key = f"{code.checksum}-{'m' * build.metered}{'d' * build.deterministic}{_ENGINE_MARKS[build.engine]}"
        path = self._store.find_or_make(key, lambda: self._try_to_compile(key, kind, engine, code))
        try:
            return kind.deserialize_file(engine, str(path))
        except wasmtime.WasmtimeError:
            # A file of this name that this wasmtime does not take: compiled anew, it fits.
            self._store.drop(path)
            path = self._store.add(key, self._compile(kind, engine, code))
            return kind.deserialize_file(engine, str(path))

    def _try_to_compile(self, key: str, kind: type[_Code], engine: wasmtime.Engine, code: CodeFile) -> bytes:
        if self._patience_s is None:
            return self._compile(kind, engine, code)
        limits = f"{__version__}-{self._memory_bytes}-{self._patience_s:g}"
        refusal = Refusal(self._store.locate_note(key, f"{limits}.refused"), self._patience_s)
        refusal.check()
        with refusal.trying():
            return self._compile(kind, engine, code)

    def _compile(self, kind: type[_Code], engine: wasmtime.Engine, code: CodeFile) -> bytes:
        with bounding_growth(self._memory_bytes):
            return _compile(kind, engine, code)

    @cached_property
    def _store(self) -> CompiledStore:
        return CompiledStore(self._folder / _fingerprint())


def _compile(kind: type[_Code], engine: wasmtime.Engine, code: CodeFile) -> bytes:
    data = code.read()
    what, inspect = ("module", inspect_module) if kind is wasmtime.Module else ("component", inspect_component)
    try:
        # For its caps: wasmtime would list a million exports.
        inspect(data)
        with work_behind(lambda: kind(engine, data)) as compiled:
            return bytes(compiled.serialize())
    except (ModuleError, wasmtime.WasmtimeError) as error:
        if any(words in str(error) for words in _NO_MEMORY):
            raise LoadError(TOO_LARGE) from error
        raise LoadError(f"the {what} is not valid: {' '.join(str(error).split())}") from error


def read_facts(code: CodeFile) -> ModuleFacts:
    """Return what a module imports and exports, from its bytes: wasmtime's C API does not survive all types.

    Raises LoadError, and as ``CodeFile.read``.
    """
    try:
        return inspect_module(code.read())
    except ModuleError as error:
        raise LoadError(f"the module is not valid: {error}") from error


def read_component_facts(component: Component, engine: wasmtime.Engine) -> ModuleFacts:
    """Return the interfaces that a component imports and exports."""
    kind = component.type
    return ModuleFacts(
        imports={(name, ""): "instance" for name in kind.imports(engine)},
        exports=dict.fromkeys(kind.exports(engine), "instance"),
    )


def check_module(runtime: str, code: CodeFile) -> ModuleFacts:
    """Return what a module imports and exports. Raises LoadError when the runtime of this name cannot run it."""
    return check_facts(runtime, read_facts(code))


def check_facts(runtime: str, facts: ModuleFacts) -> ModuleFacts:
    """Return the facts. Raises LoadError when the runtime of this name cannot run code with them."""
    try:
        CHECKS[runtime](facts)
    except ModuleError as error:
        raise LoadError(str(error)) from None
    return facts


def link(linkage: Linkage, module: wasmtime.Module) -> Prepared:
    """Link a module with the functions of its host. Raises LoadError."""
    try:
        return linkage.prepare(module)
    except wasmtime.WasmtimeError as error:
        raise LoadError(f"the module cannot be linked: {' '.join(str(error).split())}") from error


def _configure(build: Build) -> wasmtime.Config:
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.consume_fuel = build.metered
    config.wasm_exceptions = True
    # The memory limit holds for each memory of a store: one memory, one limit.
    config.wasm_multi_memory = False
    # The host keeps in mind where a guest's memory is.
    config.memory_may_move = False
    # For atomic instructions; a memory that is shared is refused before: the limit would hold for none, and
    # whoever waits in one hears of no stop.
    config.wasm_threads = True
    config.max_wasm_stack = build.stack_bytes
    if build.stack_bytes > PLAIN_STACK_BYTES:
        make_stack_room(config, build.stack_bytes)
    # Nobody here runs two functions of a component at once; and with it, this wasmtime ends a guest that lends the
    # host two resources in one call.
    bindings.wasmtime_config_concurrency_support_set(config.ptr(), False)
    if build.deterministic:
        config.cranelift_nan_canonicalization = True
        config.wasm_relaxed_simd_deterministic = True
    if build.engine == "cranelift-none":
        config.cranelift_opt_level = "none"
    elif build.engine == "pulley":
        config.target = PULLEY
        # It has no atomic instructions: who uses some is refused.
        config.wasm_threads = False
    return config


def read_is_component(code: CodeFile) -> bool:
    """Tell whether code is a component, not a core module. Raises LoadError when it is neither."""
    start = code.read_start(HEADER_BYTES)
    try:
        return is_component(start)
    except ModuleError:
        # A file that was damaged on this node's disk is not the author's fault: reading it all tells.
        code.read()
        raise LoadError(f"the code is not WebAssembly: it starts with {start!r}") from None


def _fingerprint() -> str:
    """Name everything beside code and build that machine code depends on."""
    text = f"{ENGINE_REVISION} {platform.machine()} {_cpu_model()}"
    return f"wasmtime-{find_version()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
