"""The programs that a process has loaded: by runtime, code and build."""

import pkgutil
from collections import OrderedDict
from pathlib import Path

from piecework.protocol.matching import RuntimeName
from piecework.worker_agent.errors import InterpreterError
from piecework.worker_agent.runtimes import DEFAULT, RUNTIME_NAMES, RUNTIMES
from piecework.worker_agent.runtimes.base import Build, CodeFile, LoadError, Program, Runtime
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain
from piecework.worker_agent.runtimes.scripting.interpreters import find_interpreters, list_names
from piecework.worker_agent.runtimes.scripting.scripts import ScriptRuntime

_Key = tuple[str, str, Build]


class Library:
    """Loads programs, and keeps those used last for the next call."""

    def __init__(self, toolchain: Toolchain, interpreters: Path | None = None, *, capacity: int = 64) -> None:
        """Load programs with a toolchain, and the interpreters that a folder has beside those of packages."""
        self._toolchain = toolchain
        self._interpreters = interpreters
        self._capacity = capacity
        self._runtimes: dict[str, Runtime] = {}
        self._programs: OrderedDict[_Key, Program] = OrderedDict()

    def find(self, runtime: str, checksum: str, build: Build) -> Program | None:
        """Return a program that is loaded already; None when it is not."""
        key = (runtime, checksum, build)
        found = self._programs.get(key)
        if found is not None:
            self._programs.move_to_end(key)
        return found

    def load(self, runtime: str, code: CodeFile, build: Build) -> Program:
        """Load a program for the runtime that a lambda names; one that was not used for long gives way.

        Raises LoadError when it cannot run, BrokenBlobError or OSError when the code cannot be read.
        """
        name = RuntimeName.parse(runtime).base
        if name == DEFAULT:
            name = self._recognise(code, build)
        program = self._get_runtime(name).load(code, build)
        self._programs[runtime, code.checksum, build] = program
        if len(self._programs) > self._capacity:
            _, oldest = self._programs.popitem(last=False)
            oldest.close()
        return program

    def close(self) -> None:
        """Free all programs."""
        while self._programs:
            self._programs.popitem()[1].close()

    def _recognise(self, code: CodeFile, build: Build) -> str:
        facts = self._toolchain.find_facts(code, build)
        for name in RUNTIMES:
            if self._get_runtime(name).recognises(facts):
                return name
        raise LoadError(
            "no runtime of this worker recognises the code: "
            f"it exports {', '.join(sorted(facts.exports)[:10]) or 'nothing'}"
        )

    def _get_runtime(self, name: str) -> Runtime:
        if name not in self._runtimes:
            self._runtimes[name] = self._make_runtime(name)
        return self._runtimes[name]

    def _make_runtime(self, name: str) -> Runtime:
        if name in RUNTIMES:
            made: Runtime = pkgutil.resolve_name(RUNTIMES[name])(self._toolchain)
            return made
        try:
            known = find_interpreters(self._interpreters)
        except InterpreterError as error:
            raise LoadError(str(error)) from error
        for interpreter in known:
            if name in interpreter.names:
                # Its other names share what is compiled.
                runtime = ScriptRuntime(self._toolchain, interpreter)
                self._runtimes.update(dict.fromkeys(interpreter.names, runtime))
                return runtime
        offered = ", ".join((*RUNTIME_NAMES, *list_names(known)))
        raise LoadError(f"this worker has no runtime {name!r}; it has {offered}")
