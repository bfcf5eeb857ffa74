"""Drill: one guest process runs 10,000 calls of every runtime, most of which fail.

``python benchmarks/drills/endurance.py`` looks at the process after 1,000 and after 10,000 calls. Guests end well,
fail, trap, point outside of their memory, ask for what is denied, write too much, eat memory, recurse, have to be
stopped, or cannot even be loaded. The promise: the process is the same to the end, with as many open files and
threads, and its memory does not grow.
"""

import hashlib
import itertools
import runpy
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from evidence import MIB, Figures, expect, memory_bytes, run_as_script, thread_count
from guests import guest

from piecework.protocol.ids import Id
from piecework.protocol.messages import Grants
from piecework.worker_agent.guests.executor import Executor
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.runtimes.scripting.lua import install_lua
from piecework.worker_agent.tasks import LeasedTask, Result, Task

ROOT = Path(__file__).parents[2]
GUESTS = ROOT / "tests" / "guests"
INTERPRETERS = ROOT / "build" / "tests" / "interpreters"
COMPILED = ROOT / "build" / "tests" / "compiled"
LIMITS = Bounds(timeout_s=30.0, memory_bytes=40 * MIB, output_bytes=MIB, log_bytes=4096)
BRIEF = Bounds(timeout_s=0.03, memory_bytes=40 * MIB, output_bytes=MIB, log_bytes=4096)
OFTEN = (
    "echo",
    "fail",
    "trap",
    "result_outside",
    "result_negative",
    "read_part",
    "point_outside",
    "point_negative",
)
SELDOM = (
    *("echo", "loop", "eat_memory", "recurse", "grow_table"),
    *("flood_output", "flood_log", "unknown_import", "no_entry", "broken"),
)
"""One of each comes once in ``ROUND`` calls."""
ROUND = 100
WORDS = (
    "log hi",
    "ping hi",
    "env HOME",
    "read ../a",
    "write /b c",
    "fetch GET http://127.0.0.1/",
    "redis-get k",
    "no",
)
"""What the functions of Capsule are asked. Most of it is denied."""
EVERYTHING = Grants(http=["*"], redis=True, files="write", env=["HOME"])
AHEAD = 200
GROWTH_MAX_BYTES = 4 * MIB
LOOKS, LOOK_AGAIN = 3, 30
"""How often it is looked at the end, after so many calls each: components give memory back a little later."""
THREADS_MORE = 4
"""wasmtime starts some for components only when they are needed."""


class Work(NamedTuple):
    """One kind of call."""

    runtime: str
    code: bytes
    given: bytes = b""
    limits: Bounds = LIMITS
    mode: str = "text"


class State(NamedTuple):
    """What the guest process had at one moment."""

    pid: int
    memory_bytes: int
    files: int
    threads: int


class Line:
    """Runs many calls in one guest process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys = itertools.count(1)
        self._ahead = threading.Semaphore(AHEAD)
        self.ended: Counter[str] = Counter()
        self._executor = Executor(
            slots=1, scratch=folder / "scratch", compiled=COMPILED, interpreters=INTERPRETERS, on_done=self._note
        )
        self._executor.start()

    def run(self, works: Iterator[Work], count: int) -> State:
        """Run the next calls to their end, and return what the process has then."""
        for work in itertools.islice(works, count):
            expect(self._ahead.acquire(timeout=60), "every call comes to an end")
            self._executor.submit(self._make_task(work))
        for _ in range(AHEAD):
            expect(self._ahead.acquire(timeout=60), "every call comes to an end")
        self._ahead.release(AHEAD)
        [pid] = self._executor.pids
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return State(pid, memory_bytes(pid), files, thread_count(pid))

    def close(self) -> None:
        """End the process."""
        self._executor.stop(10)

    def _note(self, ended: Sequence[tuple[LeasedTask, Result]]) -> None:
        for _, result in ended:
            self.ended["ended well" if result.error is None else str(result.error.kind)] += 1
            self._ahead.release()

    def _make_task(self, work: Work) -> LeasedTask:
        checksum = hashlib.sha256(work.code).hexdigest()
        path = self._folder / checksum
        if not path.exists():
            path.write_bytes(work.code)
        task = Task(
            runtime=work.runtime,
            codex=str(path),
            checksum=checksum,
            input=work.given,
            bounds=work.limits,
            mode=work.mode,
            grants=EVERYTHING,
        )
        return LeasedTask(Id(next(self._keys)), "", task)


def repeat_guests(runtime: str, suffix: str = "wat") -> Iterator[Work]:
    """Yield the tests' guests of a runtime without end: those of ``SELDOM`` once a round."""
    seldom = _find_guests(runtime, suffix, SELDOM)
    often = itertools.cycle(_find_guests(runtime, suffix, OFTEN))
    while True:
        yield from seldom
        yield from itertools.islice(often, ROUND - len(seldom))


def _find_guests(runtime: str, suffix: str, names: Sequence[str]) -> list[Work]:
    texts = runpy.run_path(str(ROOT / "tests" / "support" / "guest_texts.py"))
    found = []
    for name in names:
        path = GUESTS / runtime / f"{name}.{suffix}"
        if path.exists():
            code = (
                path.read_bytes() if suffix != "wat" else texts["build"](texts["read_guest"](f"{runtime}/{name}"))
            )
            found.append(Work(runtime, code, b'"abc"', BRIEF if name == "loop" else LIMITS))
    return found


def repeat_capsule(generation: int) -> Iterator[Work]:
    """Yield calls of a sample of Capsule without end, and of the tests' guests among them."""
    code, others = guest(f"capsule_g{generation}"), repeat_guests("capsule")
    while True:
        yield from [Work("capsule", code, words.encode()) for words in WORDS]
        yield Work("capsule", code, b'{"body": "hello"}', mode="http")
        yield from itertools.islice(others, 6)


def repeat_funless() -> Iterator[Work]:
    """Yield calls of functions of FunLess without end, of both kinds."""
    others = repeat_guests("funless")
    while True:
        yield Work("funless", guest("funless_fetch"), b'"http://127.0.0.1/"')
        yield Work("funless", guest("funless_before"), b"[1, 2]")
        yield Work("funless", guest("funless_before"), b"[")
        yield from itertools.islice(others, 6)


LINES: dict[str, tuple[Callable[[], Iterator[Work]], int]] = {
    "wasi": (partial(repeat_guests, "wasi"), 1),
    "component": (partial(repeat_guests, "component"), 1),
    **{f"capsule, generation {number}": (partial(repeat_capsule, number), 1) for number in (1, 2, 3, 4)},
    "funless, both kinds": (repeat_funless, 1),
    "lua5.4": (partial(repeat_guests, "lua5.4", "lua"), 1),
    "javascript": (partial(repeat_guests, "javascript", "js"), 1),
    "micropython": (partial(repeat_guests, "micropython", "py"), 1),
    "python3.12": (partial(repeat_guests, "python3.12", "py"), 20),
}
"""The calls of each runtime; and how many times fewer of it there are, where each takes long."""


def drill(folder: Path, *, calls: int, names: Collection[str] = LINES) -> Figures:
    """Run that many calls of each runtime. Raises DrillError."""
    install_lua(INTERPRETERS, print)
    figures: dict[str, object] = {}
    for name in names:
        make_works, fewer = LINES[name]
        place = folder / name
        place.mkdir()
        line = Line(place)
        try:
            works, count = make_works(), calls // fewer
            before = line.run(works, count // 10)
            line.run(works, count - count // 10 - LOOKS * LOOK_AGAIN)
            looks = [line.run(works, LOOK_AGAIN) for _ in range(LOOKS)]
            after = min(looks, key=attrgetter("memory_bytes"))
        finally:
            line.close()
        _check(name, before, after)
        ends = ", ".join(f"{kind} {number:,}" for kind, number in line.ended.most_common())
        figures[name] = (
            f"{before.memory_bytes / 1e6:.1f} -> {after.memory_bytes / 1e6:.1f} MB, {after.files} files, "
            f"{after.threads} threads; {count:,} calls: {ends}"
        )
    return figures


def _check(name: str, before: State, after: State) -> None:
    expect(after.pid == before.pid, f"{name}: no call costs the process")
    expect(after.files == before.files, f"{name}: all files are closed: {before.files}, then {after.files}")
    expect(after.threads <= before.threads + THREADS_MORE, f"{name}: all threads end: {after.threads}")
    growth = after.memory_bytes - before.memory_bytes
    expect(growth < GROWTH_MAX_BYTES, f"{name}: the memory does not grow: by {growth:,} bytes")


if __name__ == "__main__":
    run_as_script("Calls without end", drill, calls=10_000)
