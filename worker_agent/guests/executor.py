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

from piecework.worker_agent.cache import trim_folder
from piecework.worker_agent.errors import ExecutorStoppedError
from piecework.worker_agent.guests.entry_desk import EntryDesk
from piecework.worker_agent.guests.frames import LOAD_S, Ask, Assign, Told
from piecework.worker_agent.guests.leased import LeasedAssignment
from piecework.worker_agent.guests.links import Links
from piecework.worker_agent.guests.pool import TICK_S, Pool
from piecework.worker_agent.guests.process import GuestProcess
from piecework.worker_agent.guests.slot import Order, Policy, Slot
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.base import COMPILE_BYTES
from piecework.worker_agent.runtimes.services.access import NodeRules
from piecework.worker_agent.runtimes.services.entries import GuestEntries, NoEntries
from piecework.worker_agent.tasks import LeasedTask, LogUpdate, Result

MAX_WAIT_S = 1.0
"""The executor's thread looks up at least this often, and every ``TICK_S`` while tasks run."""
TAKE_BACK_WITHIN_S = 0.5
"""A guest process that does not answer within this keeps what it was sent ahead."""
COMPILED_BYTES = 2 * 1024**3
"""Size to which compiled modules on disk are trimmed."""

Ended = Sequence[tuple[LeasedTask, Result]]
"""Tasks that are done, and what came of them."""
_Slot = Slot[LeasedAssignment]
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
        on_done: Callable[[Ended], None],
        grace_s: float = 2.0,
        load_s: float = LOAD_S,
        compile_bytes: int = COMPILE_BYTES,
        engine: Engine = "cranelift",
        depth: int = 64,
        rules: NodeRules | None = None,
        entries: GuestEntries | None = None,
    ) -> None:
        """Set up an executor with ``slots`` guest processes; ``start`` starts them.

        ``scratch`` is its own folder: what is in there is removed. ``compiled`` is shared by the executors of a
        node. ``interpreters`` is a folder with interpreters of scripts; None: only packages have some. ``on_done``
        hears once of each task, from the executor's thread, and must be quick.
        ``grace_s`` is how much longer than its time limit a guest may take to answer before its process is
        killed, ``load_s`` how long its code may take to compile, and ``compile_bytes`` with how much memory;
        ``engine`` is what runs it.
        ``depth`` is how many tasks a process holds at most, while they are very quick; one of them runs. ``rules``
        is what guests may reach; None: nothing. ``entries`` is where their keys and values are; None: nowhere.
        """
        self._scratch = scratch
        self._compiled = compiled
        self._interpreters = interpreters
        self._on_done = on_done
        self._rules = rules
        self._entry_desk = EntryDesk(entries or NoEntries(), slots)
        self._load_s, self._compile_bytes, self._engine = load_s, compile_bytes, engine
        self._spool = str(scratch / secrets.token_hex(4))
        """How the names of scratch files begin."""
        self._pool: Pool[LeasedAssignment] = Pool(Policy(grace_s=grace_s, load_s=load_s, depth=depth), slots)
        self._processes: dict[_Slot, GuestProcess] = {}
        self._links: Links[_Slot] = Links()
        self._changed: Sequence[_Slot] = self._pool.slots
        """The slots whose links are to be followed anew."""
        self._lock = threading.Condition()
        """Held around everything that touches pool and processes."""
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
            return [process.pid for process in self._processes.values()]

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
        assigned = [
            LeasedAssignment(key, Assign(key, leased.task, f"{self._spool}-{key}.out"), leased=leased)
            for leased, key in keyed
        ]
        with self._lock:
            if self._stopping:
                raise ExecutorStoppedError
            now = time.monotonic()
            self._pass_on(self._pool.add(assigned, now), now)

    def cancel(self, job: int, lease: str) -> bool:
        """Stop a task, running or not. Returns False when it is not here, or done.

        ``on_done`` hears of it within about a second: as cancelled, or as done when it ended just then.
        """
        with self._lock:
            now = time.monotonic()
            found = self._pool.cancel(lambda task: task.leased[:2] == (job, lease), now)
            self._pass_on(self._pool.slots, now)
            return found

    def take_back(self) -> list[LeasedTask]:
        """Remove and return the tasks that have not started, within half a second."""
        with self._lock:
            self._pool.holding = True
            self._pool.recall()
            self._pass_on(self._pool.slots, time.monotonic())
            self._lock.wait_for(lambda: not self._pool.is_recalling, TAKE_BACK_WITHIN_S)
            self._pool.holding = self._stopping
            return [task.leased for task in self._pool.take_queue()]

    def read_logs(self) -> list[LogUpdate]:
        """Return what the running tasks logged since the last call, up to about a quarter of a second ago."""
        with self._lock:
            running = [slot.tasks[0] for slot in self._pool.slots if slot.tasks]
            return [update for task in running if (update := task.read_log()) is not None]

    def stop(self, timeout_s: float) -> None:
        """Wait for the running tasks, up to ``timeout_s``, and end what is left. No process stays behind.

        Tasks that did not run, or not to their end, are done with an error of kind ``worker``. Safe to repeat;
        must not be called by ``on_done``.
        """
        with self._lock:
            self._stopping = self._pool.holding = True
            self._pool.recall()
            self._pass_on(self._pool.slots, time.monotonic())
            self._links.wake()
            if self._thread.is_alive():
                self._lock.wait_for(lambda: not self._pool.busy, timeout_s)
            self._closing = True
            self._links.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._close()

    def _supervise(self) -> None:
        try:
            while not self._closing:
                heard = self._links.wait(self._prepare_wait())
                now = time.monotonic()
                with self._lock:
                    self._look(heard, now)
                    if self._stopping:
                        self._pool.refuse()
                    self._lock.notify_all()
                    compiled = self._pool.take_compiled()
                    ended = self._take_ended(now)
                self._report(ended)
                if compiled:
                    trim_folder(self._compiled, COMPILED_BYTES)
        finally:
            self._close()

    def _close(self) -> None:
        """End what is left. Safe to repeat."""
        with self._lock:
            self._stopping = self._closing = True
            now = time.monotonic()
            self._pool.shut_down()
            self._obey(now)
            self._lock.notify_all()
            ended = self._take_ended(now)
        self._report(ended)
        self._links.close()

    def _look(self, heard: Sequence[_Slot], now: float) -> None:
        """Take in what processes say, and do what follows. Those ``heard`` say something; none: nobody knows."""
        slots = self._pool.choose(now, heard)
        for slot in slots:
            process = self._processes.get(slot)
            if process is not None:
                process.flush()
                frames, alive = process.receive()
                slot.hear(frames, now)
                if not alive:
                    slot.lost()
        self._changed, failed_starts = self._pool.work(now, slots)
        while self._obey(now):
            self._changed, more = self._pool.work(now, self._pool.slots)
            failed_starts += more
        self._send(self._changed)
        for slot, task, ask in self._pool.take_asked():
            self._take_ask(slot, task, ask)
        for reason, in_a_row in failed_starts:
            _log.warning("guest process did not start", reason=reason, in_a_row=in_a_row)

    def _take_ask(self, slot: _Slot, task: LeasedAssignment, ask: Ask) -> None:
        """Have a guest's request answered, unless its process has ended."""
        process = self._processes.get(slot)
        if process is None:
            return

        def is_wanted() -> bool:
            return self._processes.get(slot) is process and task in slot.tasks

        def tell(told: Told) -> None:
            with self._lock:
                if self._processes.get(slot) is process:
                    process.send(told)
                    if process.has_mail:
                        self._links.wake()

        self._entry_desk.take(ask, task.leased.task, is_wanted, tell)

    def _obey(self, now: float) -> bool:
        """Start and end processes as the pool wants it. Tells whether it wanted something."""
        orders = self._pool.take_orders()
        for slot, order in orders:
            if order is Order.START:
                self._start(slot, now)
            else:
                slot.ended(self._processes.pop(slot).end(kill=order is Order.KILL), now)
        return bool(orders)

    def _start(self, slot: _Slot, now: float) -> None:
        try:
            self._processes[slot] = GuestProcess(
                compiled=self._compiled,
                interpreters=self._interpreters,
                last_words=Path(f"{self._spool}-{self._pool.slots.index(slot)}.stderr"),
                rules=self._rules,
                load_s=self._load_s,
                compile_bytes=self._compile_bytes,
                engine=self._engine,
            )
        except OSError as error:
            slot.failed(str(error), now)
        else:
            slot.started(now)

    def _send(self, slots: Iterable[_Slot]) -> None:
        for slot in slots:
            if slot.outbox:
                frames, slot.outbox = slot.outbox, []
                self._processes[slot].send(*frames)

    def _take_ended(self, now: float) -> Ended:
        return [(task.leased, task.find_result(end, now)) for task, end in self._pool.take_ended()]

    def _prepare_wait(self) -> float:
        """Return for how many seconds to wait, unless a guest process says something or the bell rings."""
        with self._lock:
            self._links.follow(self._changed, self._processes)
            now = time.monotonic()
            # While tasks run, no time matters that is nearer than a tick.
            due_at = now + TICK_S if self._pool.is_busy else self._pool.next_due_at(now)
            self._wait_until = min(due_at, now + MAX_WAIT_S)
            return self._wait_until - now

    def _pass_on(self, changed: Sequence[_Slot], now: float) -> None:
        """Send what there is for processes; wake the executor's thread when it would look up too late."""
        self._send(changed)
        if self._pool.has_ended or any(self._is_urgent(slot, now) for slot in changed):
            self._links.wake()

    def _is_urgent(self, slot: _Slot, now: float) -> bool:
        process = self._processes.get(slot)
        return (process is not None and process.has_mail) or slot.next_due_at(now) < self._wait_until

    def _report(self, ended: Ended) -> None:
        if not ended:
            return
        try:
            self._on_done(ended)
        except Exception:  # noqa: BLE001  # the outermost net: what the owner does must not end the executor
            _log.exception("results could not be reported", jobs=[task.job for task, _ in ended])
