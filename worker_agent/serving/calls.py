"""Calls of a served function, done by guest processes: each one at a time, each call in a fresh instance.

While all have a call to do, quick ones get the next already, so that they need not wait for it.

All of this happens in one event loop; only starting and ending processes waits, in threads of its own.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import structlog

from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.guests.assignment import SHUT_DOWN, Assignment, Loss
from piecework.worker_agent.guests.entry_desk import EntryDesk
from piecework.worker_agent.guests.frames import Ask, Assign, Done, Fetch, Told
from piecework.worker_agent.guests.pool import Pool
from piecework.worker_agent.guests.process import GuestProcess
from piecework.worker_agent.guests.slot import Order, Policy, Rehearsal, Slot, write_loss
from piecework.worker_agent.guests.work.sharing import look_up
from piecework.worker_agent.runtimes.services.entries import GuestEntries, NoEntries
from piecework.worker_agent.runtimes.services.store import MemoryStore
from piecework.worker_agent.serving.function import FunctionError, Version
from piecework.worker_agent.serving.log_writer import LogWriter

LOOK_S = 0.1
"""So often overdue processes are looked for, and callers that have gone."""
HANG_UP_S = 1.0
"""A call that takes longer is stopped when its caller hangs up."""
AHEAD_BYTES = 65_536
"""No call with a larger body is sent ahead: all of it must come before it can be given back."""

log = structlog.get_logger("function")


class BusyError(AgentError):
    """All guest processes are busy, and others wait already; or nobody waits for the answer any more."""


class LostError(AgentError):
    """The guest process ended during the call; the message says how."""

    overdue = False


class OverdueError(LostError):
    """The guest process did not end the call in time, and was killed."""

    overdue = True


HangUp = Callable[[], Awaitable[object]]
"""Returns when the caller has hung up."""


@dataclass(slots=True, eq=False, kw_only=True)
class CallAssignment(Assignment):
    """One call, until it is answered."""

    answer: "asyncio.Future[Done]"
    log_writer: LogWriter
    until: float = math.inf
    """So long it may wait for a process."""
    hang_up: HangUp | None = None
    since: float = 0.0
    gone: "asyncio.Future[object] | None" = None
    """Done when the caller has hung up."""
    logged: int = 0
    """Bytes of its log that were passed on."""

    def hear_log(self, part: bytes, offset: int) -> None:
        """Pass on what was not passed on before."""
        new = part[max(0, self.logged - offset) :]
        self.logged = max(self.logged, offset + len(part))
        if new:
            self.log_writer.write(new)


CALLS: Policy[CallAssignment] = Policy(
    quick_s=0.005, depth=2, starts=1, broken_after=math.inf, repeats=False, always_recalls=True
)
"""What may have begun is never begun again: a call may have done something that others saw."""
_Slot = Slot[CallAssignment]


class CallExecutor:
    """So many guest processes for one version of a function. Those that are lost are replaced."""

    def __init__(
        self,
        version: Version,
        launch: Callable[[], GuestProcess],
        log_writer: LogWriter,
        *,
        processes: int,
        queue: int,
        rehearses: bool = True,
        policy: Policy[CallAssignment] = CALLS,
        release: Callable[[], object] = lambda: None,
        entries: GuestEntries | None = None,
    ) -> None:
        """Set up an executor for a version; ``open`` starts its processes.

        ``launch`` starts a guest process, or raises OSError. ``queue`` calls may wait for one; more are refused.
        With ``rehearses`` processes load the code, and start a guest, before the first call. ``release`` is called
        when all have ended. ``entries`` is where keys and values of namespaces are.
        """
        self.version = version
        self._launch = launch
        self._log_writer = log_writer
        self._queue = queue
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._quick_s = policy.quick_s
        rehearsal = Rehearsal(self._rehearse, version.explain) if rehearses else None
        self._pool = Pool(replace(policy, rehearsal=rehearsal), processes)
        self._processes: dict[_Slot, GuestProcess] = {}
        self._callers: dict[int, CallAssignment] = {}
        """Calls whose callers may hang up, by key."""
        self._store = MemoryStore()
        self._entry_desk = EntryDesk(entries or NoEntries(), processes)
        self._trouble = ""
        """Why the last process did not start; "" when it did."""
        self._first: asyncio.Future[None] = self._loop.create_future()
        """Done when the first process takes calls, or did not start."""
        self._gone = asyncio.Event()
        """All processes have ended, and none is started any more."""
        self._chores: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        # The kernel ends a process together with the thread that started it: this one lives as long as they do.
        self._starter = ThreadPoolExecutor(1, "starter")

    async def open(self) -> None:
        """Start. Returns when the first process takes calls. Raises FunctionError."""
        self._do(self._watch())
        self._work()
        try:
            await self._first
        except FunctionError:
            await self.close()
            raise

    def find_trouble(self) -> str:
        """Return why no call can be answered now; "" when one can."""
        return "" if any(slot.is_ready for slot in self._pool.slots) else self._trouble

    async def perform(self, frame: Assign, wait_s: float, hang_up: HangUp | None = None) -> Done:
        """Have a call done; it ends early when its caller hangs up.

        Raises BusyError when no process is free in time, LostError.
        """
        if not self._pool.has_idle and self._pool.waiting >= self._queue:
            raise BusyError
        call, now = self._make_call(frame), time.monotonic()
        call.until = now + wait_s
        if hang_up is not None:
            call.hang_up, call.since = hang_up, now
            self._callers[call.key] = call
        self._send(self._pool.add([call], now))
        try:
            return await call.answer
        except asyncio.CancelledError:
            self._stop(call)
            raise
        finally:
            self._callers.pop(call.key, None)
            if call.gone is not None:
                call.gone.cancel()

    async def close(self) -> None:
        """Let calls end, and end all processes. Safe to repeat."""
        self._pool.draining = True
        self._work()
        await self._gone.wait()
        for chore in self._chores:
            chore.cancel()
        self._starter.shutdown(wait=False)
        self._release()

    def _make_call(self, frame: Assign) -> CallAssignment:
        serving = frame.serving
        request = None if serving is None else serving.request
        return CallAssignment(
            frame.key,
            frame,
            request is not None and len(request.body) <= AHEAD_BYTES,
            answer=self._loop.create_future(),
            log_writer=self._log_writer,
        )

    def _rehearse(self) -> CallAssignment:
        return self._make_call(self.version.assign_rehearsal())

    def _stop(self, wanted: CallAssignment) -> None:
        """End a call for which nobody waits any more."""
        if self._pool.cancel(lambda call: call is wanted, time.monotonic()):
            self._send(self._pool.slots)
            self._tell()

    def _work(self, *slots: _Slot) -> None:
        """Do what follows from what happened in these slots; none: in all."""
        changed, failed_starts = self._pool.work(time.monotonic(), slots or self._pool.slots)
        for slot, order in self._pool.take_orders():
            self._obey(slot, order)
        self._send(changed)
        for slot, call, ask in self._pool.take_asked():
            self._take_ask(slot, call, ask)
        self._tell()
        for reason, in_a_row in failed_starts:
            self._note_failed_start(reason, in_a_row)
        if not self._first.done() and any(slot.is_ready for slot in self._pool.slots):
            self._first.set_result(None)
        if self._pool.draining and self._pool.is_gone:
            self._gone.set()

    def _take_ask(self, slot: _Slot, call: CallAssignment, ask: Ask) -> None:
        """Have what a guest wants of a namespace done, unless its process has ended."""
        process = self._processes.get(slot)
        if process is None:
            return

        def pass_on(told: Told) -> None:
            if self._processes.get(slot) is process:
                process.send(told)
                self._follow_mail(slot, process)

        def tell(told: Told) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: all is over
                self._loop.call_soon_threadsafe(pass_on, told)

        self._entry_desk.take(
            ask, call.frame.task, lambda: self._processes.get(slot) is process and call in slot.tasks, tell
        )

    def _note_failed_start(self, reason: str, in_a_row: int) -> None:
        self._trouble = reason
        if self._first.done():
            log.warning("guest process did not start", reason=reason, in_a_row=in_a_row)
        else:
            self._first.set_exception(FunctionError(reason))

    def _tell(self) -> bool:
        """Answer the calls that ended. Tells whether some were lost with their process."""
        lost = False
        for call, end in self._pool.take_ended():
            waits = not call.answer.done()  # else who waited for it is gone
            if isinstance(end, Done):
                if end.result.log:
                    call.hear_log(end.result.log, end.result.log_offset)
                if waits:
                    call.answer.set_result(end)
            else:
                lost = lost or not end.cancelled
                if waits:
                    call.answer.set_exception(_write_error(end))
        return lost

    # Processes

    def _obey(self, slot: _Slot, order: Order) -> None:
        if order is Order.START:
            self._do(self._start(slot))
            return
        process = self._processes.pop(slot)
        self._loop.remove_reader(process.link)
        self._loop.remove_writer(process.link)
        self._do(self._end(slot, process, kill=order is Order.KILL))

    async def _start(self, slot: _Slot) -> None:
        try:
            process = await self._loop.run_in_executor(self._starter, self._launch)
        except OSError as error:
            slot.failed(str(error), time.monotonic())
        else:
            self._processes[slot] = process
            self._loop.add_reader(process.link, self._listen, slot)
            slot.started(time.monotonic())
        self._work()

    async def _end(self, slot: _Slot, process: GuestProcess, *, kill: bool) -> None:
        end = await self._loop.run_in_executor(None, partial(process.end, kill=kill))
        process.last_words.unlink(missing_ok=True)
        served = not (slot.starts or self._pool.draining)
        slot.ended(end, time.monotonic())
        if not self._tell() and served:
            log.warning("guest process lost", reason=f"{end.how} {end.words[-300:]}".strip())
        self._work()

    def _send(self, slots: Sequence[_Slot]) -> None:
        for slot in slots:
            if slot.outbox:
                frames, slot.outbox = slot.outbox, []
                process = self._processes[slot]
                process.send(*frames)
                if process.has_mail:
                    self._follow_mail(slot, process)
                if self._timer is None and len(slot.tasks) > 1:
                    self._timer = self._loop.call_later(self._quick_s, self._recall)

    def _follow_mail(self, slot: _Slot, process: GuestProcess) -> None:
        """Have sent what a process did not take at once, as soon as it does."""
        if process.has_mail != slot.is_blocked:
            slot.is_blocked = process.has_mail
            if slot.is_blocked:
                self._loop.add_writer(process.link, self._flush, slot)
            else:
                self._loop.remove_writer(process.link)

    def _flush(self, slot: _Slot) -> None:
        process = self._processes[slot]
        process.flush()
        self._follow_mail(slot, process)

    def _recall(self) -> None:
        """Have what waits behind calls that take long done elsewhere."""
        self._timer = None
        self._work()
        if any(len(slot.tasks) > 1 and not slot.tasks[-1].recalled for slot in self._pool.slots):
            self._timer = self._loop.call_later(self._quick_s, self._recall)

    def _listen(self, slot: _Slot) -> None:
        self._receive(slot)
        self._work(slot)

    def _receive(self, slot: _Slot) -> None:
        process = self._processes[slot]
        frames, alive = process.receive()
        for frame in frames:
            if isinstance(frame, Fetch):
                process.send(look_up(self._store, frame))
                self._follow_mail(slot, process)
        slot.hear(frames, time.monotonic())
        if not alive:
            slot.lost()

    # Time

    async def _watch(self) -> None:
        """Look after calls that take too long, callers that wait too long or go, processes that are to start."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            for slot in list(self._processes):
                if slot.next_due_at(now) <= now:
                    self._receive(slot)  # the answer may have come just now
            for call in [call for call in self._pool.queue if call.until <= now]:
                self._stop(call)
            self._look_at_callers(now)
            if any(slot.is_ready for slot in self._pool.slots):
                self._trouble = ""
            self._work()

    def _look_at_callers(self, now: float) -> None:
        """End the calls whose callers have hung up."""
        for call in list(self._callers.values()):
            if call.gone is None and call.hang_up is not None and now >= call.since + HANG_UP_S:
                call.gone = asyncio.ensure_future(call.hang_up())
            elif call.gone is not None and call.gone.done():
                self._stop(call)

    def _do(self, chore: Coroutine[None, None, None]) -> None:
        """Have something done beside the calls."""
        task = asyncio.ensure_future(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def _write_error(end: Loss) -> AgentError:
    if end.cancelled or end is SHUT_DOWN:
        return BusyError()
    return (OverdueError if end.overdue else LostError)(write_loss(end))
