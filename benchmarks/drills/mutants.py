"""Drill: code that was damaged, or made odd, by chance.

``python benchmarks/drills/mutants.py``, or ``make fuzz``, makes 10,000 mutants of the samples and of the tests'
guests, and 500 of their scripts. Each is looked at as a server does, and runs in guest processes under its own
runtime, ``default`` and another one. The promise: every run ends in an outcome that is the guest's own, within its
limits; no process is lost; and the server refuses nothing that an agent can run. The same numbers make the same
mutants.
"""

import hashlib
import runpy
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from evidence import Figures, expect, run_as_script
from mutations import mutate

from piecework.modules import CHECKS, ModuleError, check_code, inspect_code
from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.worker_agent.guests.executor import Executor
from piecework.worker_agent.runtimes import DEFAULT
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.runtimes.scripting.lua import install_lua
from piecework.worker_agent.tasks import File, LeasedTask, Result, Task

ROOT = Path(__file__).parents[2]
GUESTS = ROOT / "tests" / "guests"
INTERPRETERS = ROOT / "build" / "tests" / "interpreters"
COMPILED = ROOT / "build" / "tests" / "compiled"
"""What the tests compiled already."""
SUFFIXES = {"javascript": "js", "lua5.4": "lua", "micropython": "py"}
INPUTS = {
    "text": (
        b"",
        b'{"url": "http://127.0.0.1/"}',
        b"ping hello",
        b"fetch GET http://127.0.0.1/",
        bytes(range(256)),
    ),
    "http": (b"{}", b'{"method": "POST", "headers": {"A": "b"}, "body": "hello"}'),
    "json": (b"{}", b'{"a": [1, 2]}'),
}
"""What goes in, by the mode."""
BATCH = 500
"""So many mutants share an executor and its folder of compiled code."""
SLOTS = 2
LIMITS = Bounds(timeout_s=0.1, memory_bytes=24 * 1024**2, output_bytes=1024**2, log_bytes=4096)
PATIENCE_S = 60.0
OF_GUESTS = {None, "load", "input", "guest", "trap", "timeout", "memory", "output"}
"""Kinds of errors that a guest may have; None: it ended well. ``worker`` is ours."""
LOST = ("the process ended", "the module was not compiled")
KILLED = "could only be killed"
COMPONENT = b"\0asm\x0d"
"""How a component begins: only those may have to be killed, for in their sleep they hear nothing."""


class Parent(NamedTuple):
    """Sound code, and the runtime it is for."""

    runtime: str
    code: bytes


@dataclass
class Tally:
    """What came out so far."""

    ends: Counter[str] = field(default_factory=Counter)
    refused_by_server: int = 0
    killed: int = 0
    longest_s: float = 0.0
    longest_look_s: float = 0.0
    broken: list[str] = field(default_factory=list)
    """Promises that did not hold."""


class Runner:
    """Runs tasks in guest processes, a few at once, and counts how they end."""

    def __init__(self, folder: Path, tally: Tally, compiled: Path) -> None:
        self._tally = tally
        self._started: dict[int, tuple[float, bool]] = {}
        """When each task was given out, and whether a server would have refused it."""
        self._free = threading.Semaphore(SLOTS)
        self._executor = Executor(
            slots=SLOTS,
            scratch=folder / "scratch",
            compiled=compiled,
            interpreters=INTERPRETERS,
            on_done=self._note,
        )
        self._executor.start()

    def run(self, task: LeasedTask, *, refused: bool) -> None:
        """Run a task as soon as a process is free; ``refused`` says what a server thought of it."""
        expect(self._free.acquire(timeout=PATIENCE_S), "every run comes to an end")
        self._started[task.job] = (time.monotonic(), refused)
        self._executor.submit(task)

    def close(self) -> None:
        """Wait for the last ones, and end the processes."""
        for _ in range(SLOTS):
            expect(self._free.acquire(timeout=PATIENCE_S), "every run comes to an end")
        self._executor.stop(PATIENCE_S)

    def _note(self, ended: Sequence[tuple[LeasedTask, Result]]) -> None:
        for task, result in ended:
            started, refused = self._started.pop(task.job)
            self._tally.longest_s = max(self._tally.longest_s, time.monotonic() - started)
            self._judge(task, result, refused=refused)
            if isinstance(result.output, File):
                Path(result.output.path).unlink()
            self._free.release()

    def _judge(self, task: LeasedTask, result: Result, *, refused: bool) -> None:
        error, tally = result.error, self._tally
        kind = None if error is None else str(error.kind)
        tally.ends[kind or "ended well"] += 1
        about = f"mutant {task.lease} under {task.task.runtime}, {task.task.mode}"
        if error is not None and KILLED in error.message:
            tally.killed += 1
            if not Path(task.task.codex).read_bytes().startswith(COMPONENT):
                tally.broken.append(f"{about}: it did not hear of its time limit")
        if error is not None and (error.message.startswith(LOST) or kind not in OF_GUESTS):
            tally.broken.append(f"{about}: {kind}: {error.message} {error.trace}")
        elif refused and kind != ErrorKind.LOAD:
            tally.broken.append(f"{about}: the server refused it, but it runs")


def find_parents() -> list[Parent]:
    """Return the modules among the samples, and the tests' guests of all runtimes."""
    texts = runpy.run_path(str(ROOT / "tests" / "support" / "guest_texts.py"))
    found = []
    for path in sorted((ROOT / "samples").glob("**/*.wasm")):
        runtime = next((name for name in ("capsule", "funless") if path.name.startswith(name)), "wasi")
        found.append(Parent(runtime, path.read_bytes()))
    for runtime in CHECKS:
        names = [path.stem for path in sorted((GUESTS / runtime).glob("*.wat")) if path.stem != "common"]
        found += [Parent(runtime, texts["build"](texts["read_guest"](f"{runtime}/{name}"))) for name in names]
    return found


def find_scripts() -> list[Parent]:
    """Return the tests' scripts."""
    return [
        Parent(runtime, path.read_bytes())
        for runtime, suffix in SUFFIXES.items()
        for path in sorted((GUESTS / runtime).glob(f"*.{suffix}"))
    ]


def look(runtime: str, code: bytes, tally: Tally) -> bool:
    """Look at code as a server does, and as ``lambda inspect``; return whether it is refused."""
    started = time.perf_counter()
    try:
        check_code(runtime, code)
        inspect_code(code)
    except ModuleError as error:
        expect(len(str(error)) < 2000, f"the server says in few words what is wrong: {len(str(error))} characters")
        return True
    finally:
        tally.longest_look_s = max(tally.longest_look_s, time.perf_counter() - started)
    return False


def run_batch(
    folder: Path, parents: Sequence[Parent], numbers: range, tally: Tally, compiled: Path | None = None
) -> None:
    """Make the mutants with these numbers, and run each in three ways."""
    folder.mkdir(parents=True, exist_ok=True)
    runtimes = (*CHECKS, DEFAULT)
    runner = Runner(folder, tally, compiled or folder / "compiled")
    try:
        for number in numbers:
            noise = Random(number)
            parent, other = noise.choice(parents), noise.choice(parents)
            code = mutate(noise, parent.code, other.code)
            path = folder / f"{number}.code"
            path.write_bytes(code)
            for turn, runtime in enumerate((parent.runtime, DEFAULT, noise.choice(runtimes))):
                refused = look(runtime, code, tally)
                tally.refused_by_server += refused
                runner.run(make_task(number, turn, runtime, path, noise), refused=refused)
    finally:
        runner.close()


def make_task(number: int, turn: int, runtime: str, path: Path, noise: Random) -> LeasedTask:
    """Return the task that runs a mutant."""
    mode = noise.choice((*INPUTS, "text"))
    task = Task(
        runtime=runtime,
        codex=str(path),
        checksum=hashlib.sha256(path.read_bytes()).hexdigest(),
        input=noise.choice(INPUTS[mode]),
        bounds=LIMITS,
        seed=b"seed" if noise.random() < 0.1 else None,
        mode=mode,
    )
    return LeasedTask(Id(number * 10 + turn), str(number), task)


def drill(folder: Path, *, modules: int, scripts: int) -> Figures:
    """Run that many mutants of modules, and of scripts. Raises DrillError."""
    tally, started = Tally(), time.monotonic()
    parents = find_parents()
    for first in range(0, modules, BATCH):
        run_batch(folder / str(first), parents, range(first, min(first + BATCH, modules)), tally)
    install_lua(INTERPRETERS, print)
    run_batch(folder / "scripts", find_scripts(), range(scripts), tally, COMPILED)
    expect(not tally.broken, "\n".join(["every run ends as the guest's own:", *tally.broken]))
    return {
        "mutants": modules + scripts,
        "runs": tally.ends.total(),
        "refused by the server": tally.refused_by_server,
        "how they ended": ", ".join(f"{kind} {count:,}" for kind, count in tally.ends.most_common()),
        "guest processes lost": 0,
        "guests that could only be killed": tally.killed,
        "longest run, with compiling, s": tally.longest_s,
        "longest look of a server, s": tally.longest_look_s,
        "all, s": time.monotonic() - started,
    }


if __name__ == "__main__":
    run_as_script("Mutated code", drill, modules=10_000, scripts=500)
