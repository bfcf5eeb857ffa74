"""The executor: runs tasks in processes of their own, holds them to their limits, and loses none.

Each task that is submitted ends in exactly one of two ways: ``on_done`` hears of it, or it is taken back.
"""

import itertools
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import structlog

from worker_agent.cache import trim_folder
from worker_agent.errors import ExecutorStoppedError
from worker_agent.guests.assignment import Assignment
from worker_agent.guests.frames import LOAD_S
from worker_agent.guests.pool import TICK_S, Pool
from worker_agent.guests.process import GuestProcess
from worker_agent.guests.slot import News, Patience, Slot
from worker_agent.guests.switchboard import Switchboard
from worker_agent.runtimes.services.access import NodeRules
from worker_agent.tasks import LeasedTask, LogUpdate, Result

MAX_WAIT_S = 1.0
"""The executor's thread looks up at least this often, and every ``TICK_S`` while tasks run."""
TAKE_BACK_WITHIN_S = 0.5
"""A guest process that does not answer within this keeps what it was sent ahead."""
COMPILED_BYTES = 2 * 1024**3
"""Size to which compiled modules on disk are trimmed."""

_log = structlog.get_logger(__name__)


class Executor:
    """Runs tasks side by side in guest processes. Its methods may be called from any thread."""

    def __init__(
        self,
        *,
        slots: int,
        scratch: Path,
        compiled: Path,
        interpreters: Path | None = None,
        on_done: Callable[[Sequence[tuple[LeasedTask, Result]]], None],
        grace_s: float = 2.0,
        load_s: float = LOAD_S,
        depth: int = 64,
        rules: NodeRules | None = None,
    ) -> None:
        """Set up an executor with ``slots`` guest processes; ``start`` starts them.

        ``scratch`` is its own folder: what is in there is removed. ``compiled`` is shared by the executors of a
        node. ``interpreters`` is a folder with interpreters of scripts; None: only packages have some. ``on_done``
        hears once of each task, from the executor's thread, and must be quick.
        ``grace_s`` is how much longer than its time limit a guest may take to answer before its process is
        killed, ``load_s`` how long its code may take to compile. ``depth`` is how many tasks a process holds at
        most, while they are very quick; one of them runs. ``rules`` is what guests may reach; None: nothing.
        """
        self._scratch = scratch
        self._compiled = compiled
        self._interpreters = interpreters
        self._on_done = on_done
        self._rules = rules
        self._load_s = load_s
        self._spool = str(scratch / secrets.token_hex(4))
        """How the names of scratch files begin."""
        news, patience = News(), Patience(grace_s, load_s)
        self._pool = Pool(
            [Slot(self._launcher(number), news, patience) for number in range(slots)], news, depth=depth
        )
        self._switchboard = Switchboard()
        self._changed: Sequence[Slot] = self._pool.slots
        """The slots that the switchboard has to be told about."""
        self._lock = threading.Condition()
        """Held around everything that touches the pool."""
        self._thread = threading.Thread(target=self._supervise, name="executor")
        self._stopping = False
        self._closing = False
        self._keys = itertools.count(1)
        self._wait_until = -math.inf

    @property
    def busy(self) -> int:
        """How many tasks run now."""
        with self._lock:
            return self._pool.busy

    @property
    def waiting(self) -> int:
        """How many tasks were submitted and do not run yet."""
        with self._lock:
            return self._pool.waiting

    @property
    def pids(self) -> list[int]:
        """The guest processes' ids."""
        with self._lock:
            return [slot.process.pid for slot in self._pool.slots if slot.process is not None]

    def start(self) -> None:
        """Start the guest processes; returns before they are there. Raises OSError when a folder is unusable."""
        for folder in (self._scratch, self._compiled):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._scratch.iterdir():
            leftover.unlink()
        trim_folder(self._compiled, COMPILED_BYTES)
        self._thread.start()

    def submit(self, *tasks: LeasedTask) -> None:
        """Queue tasks, all or none. Raises ExecutorStoppedError after ``stop``."""
        keyed = zip(tasks, self._keys, strict=False)
        assigned = [Assignment(key, task, f"{self._spool}-{key}.out") for task, key in keyed]
        with self._lock:
            if self._stopping:
                raise ExecutorStoppedError
            now = time.monotonic()
            self._ring_if_due(self._pool.add(assigned, now), now)

    def cancel(self, job: int, lease: str) -> bool:
        """Stop a task, running or not. Returns False when it is not here, or done.

        ``on_done`` hears of it within about a second: as cancelled, or as done when it ended just then.
        """
        with self._lock:
            now = time.monotonic()
            found = self._pool.cancel(job, lease, now)
            self._ring_if_due(self._pool.slots, now)
            return found

    def take_back(self) -> list[LeasedTask]:
        """Remove and return the tasks that have not started, within half a second."""
        with self._lock:
            self._pool.holding = True
            self._pool.recall()
            self._ring_if_due(self._pool.slots, time.monotonic())
            self._lock.wait_for(lambda: not self._pool.is_recalling, TAKE_BACK_WITHIN_S)
            self._pool.holding = self._stopping
            return self._pool.take_queue()

    def read_logs(self) -> list[LogUpdate]:
        """Return what the running tasks logged since the last call, up to about a quarter of a second ago."""
        with self._lock:
            return self._pool.read_logs()

    def stop(self, timeout_s: float) -> None:
        """Wait for the running tasks, up to ``timeout_s``, and end what is left. No process stays behind.

        Tasks that did not run, or not to their end, are done with an error of kind ``worker``. Safe to repeat;
        must not be called by ``on_done``.
        """
        with self._lock:
            self._stopping = self._pool.holding = True
            self._pool.recall()
            self._switchboard.ring()
            if self._thread.is_alive():
                self._lock.wait_for(lambda: not self._pool.busy, timeout_s)
            self._closing = True
            self._switchboard.ring()
        if self._thread.is_alive():
            self._thread.join()
        self._close()

    def _launcher(self, number: int) -> Callable[[], GuestProcess]:
        last_words = Path(f"{self._spool}-{number}.stderr")
        return lambda: GuestProcess(
            compiled=self._compiled,
            interpreters=self._interpreters,
            last_words=last_words,
            rules=self._rules,
            load_s=self._load_s,
        )

    def _supervise(self) -> None:
        try:
            while not self._closing:
                heard = self._switchboard.wait(self._prepare_wait())
                now = time.monotonic()
                with self._lock:
                    self._changed = self._pool.work(now, heard)
                    if self._stopping:
                        self._pool.refuse(now)
                    self._lock.notify_all()
                    compiled = self._pool.take_compiled()
                    finished = self._pool.take_finished()
                self._report(finished)
                if compiled:
                    trim_folder(self._compiled, COMPILED_BYTES)
        finally:
            self._close()

    def _close(self) -> None:
        """End what is left. Safe to repeat."""
        with self._lock:
            self._stopping = self._closing = True
            self._pool.shut_down(time.monotonic())
            self._lock.notify_all()
            finished = self._pool.take_finished()
        self._report(finished)
        self._switchboard.close()

    def _prepare_wait(self) -> float:
        """Return for how many seconds to wait, unless a guest process says something or the bell rings."""
        with self._lock:
            self._switchboard.plug(self._changed)
            now = time.monotonic()
            # While tasks run, no time matters that is nearer than a tick.
            due_at = now + TICK_S if self._pool.is_busy else self._pool.next_due_at(now)
            self._wait_until = min(due_at, now + MAX_WAIT_S)
            return self._wait_until - now

    def _ring_if_due(self, changed: Iterable[Slot], now: float) -> None:
        """Ring when the executor's thread would look up too late for what changed."""
        late_at = self._wait_until
        if self._pool.has_finished or any(slot.has_mail or slot.next_due_at(now) < late_at for slot in changed):
            self._switchboard.ring()

    def _report(self, finished: Sequence[tuple[LeasedTask, Result]]) -> None:
        if not finished:
            return
        try:
            self._on_done(finished)
        except Exception:  # noqa: BLE001  # the outermost net: what the owner does must not end the executor
            _log.exception("results could not be reported", jobs=[task.job for task, _ in finished])
