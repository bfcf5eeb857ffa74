"""One guest process that does calls, one at a time, and may hold the next while it does one."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from worker_agent.errors import AgentError
from worker_agent.guests.frames import (
    LOAD_S,
    Assign,
    Done,
    Fetch,
    Frame,
    FromGuests,
    Halt,
    Loaded,
    Loading,
    Logged,
    Ready,
    Recall,
    Returned,
)
from worker_agent.guests.process import GuestProcess
from worker_agent.guests.sharing import look_up
from worker_agent.runtimes.compiling.refusals import explain_end, explain_overdue
from worker_agent.runtimes.services.store import MemoryStore
from worker_agent.serving.journal import Journal

START_S, GRACE_S, HALT_S = 30.0, 2.0, 1.0
"""How long a process may take to start, beyond the limits of a call and of loading, and to stop when told to."""
LOOK_S = 0.1
"""So often overdue processes are looked for."""
QUICK_S = 0.005
"""A process gets a call ahead while its calls are quicker than this, and gives it back once one is not."""
AHEAD_BYTES = 65_536
"""No call with a larger body is sent ahead: all of it must come before it can be given back."""


class LostError(AgentError):
    """The guest process ended during the call; the message says how."""

    overdue = False


class OverdueError(LostError):
    """The guest process did not end the call in time, and was killed."""

    overdue = True


class ReturnedError(AgentError):
    """The process gave the call back before it began with it."""


@dataclass(slots=True, eq=False)
class _Call:
    task: Assign
    answer: asyncio.Future[Done]
    recalled: bool = False


class Attendant:
    """One guest process. Not to be used again once a call raised LostError."""

    def __init__(
        self, process: GuestProcess, loop: asyncio.AbstractEventLoop, store: MemoryStore, journal: Journal
    ) -> None:
        self.process = process
        self.ready = self.lost = False
        """It took a call; it takes none any more."""
        self.loading = False
        """It loads the code of its call."""
        self.deadline_at = math.inf
        self.freed: Callable[[Attendant], object] = lambda _: None
        """Hears of each call that the process is done with."""
        self.burial: asyncio.Future[str] | None = None
        """Tells how the process ended."""
        self._loop = loop
        self._store = store
        self._journal = journal
        self._calls: deque[_Call] = deque()
        """The first is being done; once the process is lost, those that were lost with it."""
        self._begun_at = self._usual_s = math.inf
        """When the first was begun; how long calls took, of which the last counts an eighth."""
        self._logged = 0
        """Bytes of the first call's log that were passed on."""
        self._ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(process.link, self._listen)

    @property
    def load(self) -> int:
        """How many calls it has; one of them is being done."""
        return len(self._calls)

    @property
    def has_ahead(self) -> bool:
        """A call waits in the process, and was not asked back."""
        return len(self._calls) > 1 and not self._calls[-1].recalled

    def takes(self, task: Assign) -> bool:
        """Tell whether the process would begin a call at once, or very soon."""
        if self.lost or not self._calls:
            return not self.lost
        return (
            len(self._calls) == 1
            and self._usual_s < QUICK_S
            and time.monotonic() < self._begun_at + QUICK_S
            and not self.process.has_mail
            and _is_small(task)
        )

    async def start(self) -> None:
        """Wait until the process takes tasks. Raises LostError."""
        self.deadline_at = time.monotonic() + START_S
        await self._ready
        self.deadline_at = math.inf

    async def perform(self, task: Assign) -> Done:
        """Have a call done. Raises LostError when the process does not survive it."""
        return await self.give(task)

    def give(self, task: Assign) -> "asyncio.Future[Done]":
        """Have a call done after those that the process has.

        The answer is a LostError when the process does not survive it, a ReturnedError when it gives it back.
        """
        call = _Call(task, self._loop.create_future())
        self._calls.append(call)
        self._send(task)
        if call is self._calls[0]:
            self._begin()
        return call.answer

    def has_begun(self, key: int) -> bool:
        """Tell whether a call that was lost with the process had begun. The process must be dead."""
        keys = [call.task.key for call in self._calls]
        last = self.process.working_on
        return last in keys and keys.index(key) <= keys.index(last)

    def recall(self, now: float) -> None:
        """Ask for the call that waits, when the one before it takes long."""
        if self.has_ahead and now >= self._begun_at + QUICK_S:
            self._calls[-1].recalled = True
            self._send(Recall(self._calls[-1].task.key))

    def halt(self, key: int) -> None:
        """Have the call with this key end soon, if it is here. Its process goes on, if it can be stopped."""
        if any(call.task.key == key for call in self._calls):
            self._send(Halt(key))
            if self._calls[0].task.key == key:
                self.deadline_at = min(self.deadline_at, time.monotonic() + HALT_S)

    def look(self, now: float) -> None:
        """Give up a call that takes too long."""
        if now >= self.deadline_at:
            self._listen()  # it may have ended just now
        if now >= self.deadline_at:
            self.lose(OverdueError())

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(time.monotonic())

    def lose(self, error: LostError) -> None:
        """Listen no more to the process; the calls that it has are lost. Safe to repeat."""
        self.leave()
        self.lost = True
        self.deadline_at = math.inf
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # nobody waits for it when another thing went wrong before
        for call in self._calls:
            if not call.answer.done():
                call.answer.set_exception(error)
                call.answer.exception()
            error = LostError()  # only the first can be overdue

    def leave(self) -> None:
        """Listen no more to the process."""
        self._loop.remove_reader(self.process.link)
        self._loop.remove_writer(self.process.link)

    def _listen(self) -> None:
        frames, alive = self.process.receive()
        for frame in frames:
            self._hear(frame)
        if not alive:
            self.lose(LostError())

    def _hear(self, frame: FromGuests) -> None:
        match frame:
            case Done():
                self.loading = False
                self._pass_on(frame.result.log, frame.result.log_offset)
                if self.ready:  # the rehearsal is slow
                    self._note_time(time.monotonic() - self._begun_at)
                self._end(frame.key, frame)
            case Returned():
                self._end(frame.key, ReturnedError())
            case Fetch():
                self._send(look_up(self._store, frame))
            case Loading():
                self.loading = True
                self.deadline_at = time.monotonic() + LOAD_S + GRACE_S
            case Loaded():
                self.loading = False
                self._begin()
            case Logged() if self._calls and self._calls[0].task.key == frame.key:
                self._pass_on(frame.log, frame.offset)
            case Ready() if not self._ready.done():
                self._ready.set_result(None)

    def _begin(self) -> None:
        """Note that the process begins with the first of its calls."""
        self._logged, self._begun_at = 0, time.monotonic()
        self.deadline_at = self._begun_at + self._calls[0].task.task.bounds.timeout_s + GRACE_S

    def _note_time(self, took_s: float) -> None:
        known = self._usual_s if self._usual_s < math.inf else took_s
        self._usual_s = known + (took_s - known) / 8

    def _end(self, key: int, end: Done | ReturnedError) -> None:
        """Note that the process is done with a call, or never will be."""
        call = next(call for call in self._calls if call.task.key == key)
        was_first = call is self._calls[0]
        self._calls.remove(call)
        if not self._calls:
            self.deadline_at = math.inf
        elif was_first:
            self._begin()
        if call.answer.done():
            pass  # who waited for it is gone
        elif isinstance(end, Done):
            call.answer.set_result(end)
        else:
            call.answer.set_exception(end)
        self.freed(self)

    def _pass_on(self, part: bytes, offset: int) -> None:
        """Log what was not logged before."""
        new = part[max(0, self._logged - offset) :]
        self._logged = max(self._logged, offset + len(part))
        if new:
            self._journal.write(new)

    def _send(self, frame: Frame) -> None:
        self.process.send(frame)
        if self.process.has_mail:  # what it did not take at once, as soon as it does
            self._loop.add_writer(self.process.link, self._flush)

    def _flush(self) -> None:
        self.process.flush()
        if not self.process.has_mail:
            self._loop.remove_writer(self.process.link)


def _is_small(task: Assign) -> bool:
    request = None if task.serving is None else task.serving.request
    return request is not None and len(request.body) <= AHEAD_BYTES


def describe_loss(attendant: Attendant, why: LostError, limit_s: float, end: str = "") -> str:
    """Say how a process ended during a call."""
    loading = attendant.loading
    if why.overdue:
        if loading:
            return explain_overdue(LOAD_S)
        return f"it ran longer than its limit of {limit_s:g} s, and could only be killed"
    how, words = end or attendant.process.bury(), attendant.process.read_last_words()
    if loading and (reason := explain_end(how, words, LOAD_S)):
        return reason
    doing = "loading the module" if loading else "running the guest"
    return f"the process ended while {doing}: {how} {words[-300:]}".strip()
