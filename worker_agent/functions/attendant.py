"""One guest process that does calls, one at a time."""

import asyncio
import math
import time

from worker_agent.errors import AgentError
from worker_agent.executor.frames import (
    LOAD_S,
    Assign,
    Done,
    Fetch,
    FromGuests,
    Halt,
    Loaded,
    Loading,
    Logged,
    Ready,
)
from worker_agent.executor.process import GuestProcess
from worker_agent.executor.sharing import look_up
from worker_agent.functions.journal import Journal
from worker_agent.runtimes.refusals import explain_end, explain_overdue
from worker_agent.runtimes.services.store import MemoryStore

START_S, GRACE_S, HALT_S = 30.0, 2.0, 1.0
"""How long a process may take to start, beyond the limits of a call and of loading, and to stop when told to."""
LOOK_S = 0.1
"""So often overdue processes are looked for."""


class LostError(AgentError):
    """The guest process ended during the call; the message says how."""

    overdue = False


class OverdueError(LostError):
    """The guest process did not end the call in time, and was killed."""

    overdue = True


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
        self._loop = loop
        self._store = store
        self._journal = journal
        self._timeout_s = math.inf
        self._key = 0
        """Of the call that it does, or did last."""
        self._logged = 0
        """Bytes of the call's log that were passed on."""
        self._answer: asyncio.Future[Done] = loop.create_future()
        self._ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(process.link, self._listen)

    async def start(self) -> None:
        """Wait until the process takes tasks. Raises LostError."""
        self.deadline_at = time.monotonic() + START_S
        await self._ready
        self.deadline_at = math.inf

    async def perform(self, task: Assign) -> Done:
        """Have a call done. Raises LostError when the process does not survive it."""
        self._answer, self._logged, self._key = self._loop.create_future(), 0, task.key
        self._timeout_s = task.bounds.timeout_s + GRACE_S
        self.deadline_at = time.monotonic() + self._timeout_s
        self.process.send(task)
        self._flush_later()
        done = await self._answer
        self.deadline_at = math.inf
        self._pass_on(done.log, done.log_offset)
        return done

    def halt(self, key: int) -> None:
        """Have the call with this key end soon, if it is done here. Its process goes on, if it can be stopped."""
        if key == self._key and not self._answer.done():
            self.process.send(Halt(key))
            self._flush_later()
            self.deadline_at = min(self.deadline_at, time.monotonic() + HALT_S)

    def look(self, now: float) -> None:
        """Give up a call that takes too long."""
        if now >= self.deadline_at:
            self._fail(OverdueError())

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(time.monotonic())

    def leave(self) -> None:
        """Listen no more to the process."""
        self._loop.remove_reader(self.process.link)
        self._loop.remove_writer(self.process.link)

    def _listen(self) -> None:
        frames, alive = self.process.receive()
        for frame in frames:
            self._hear(frame)
        if not alive:
            self._fail(LostError())

    def _hear(self, frame: FromGuests) -> None:
        match frame:
            case Done():
                self.loading = False
                if not self._answer.done():
                    self._answer.set_result(frame)
            case Fetch():
                self.process.send(look_up(self._store, frame))
                self._flush_later()
            case Loading():
                self.loading = True
                self.deadline_at = time.monotonic() + LOAD_S + GRACE_S
            case Loaded():
                self.loading = False
                self.deadline_at = time.monotonic() + self._timeout_s
            case Logged():
                self._pass_on(frame.log, frame.offset)
            case Ready() if not self._ready.done():
                self._ready.set_result(None)

    def _pass_on(self, part: bytes, offset: int) -> None:
        """Log what was not logged before."""
        new = part[max(0, self._logged - offset) :]
        self._logged = max(self._logged, offset + len(part))
        if new:
            self._journal.write(new)

    def _fail(self, error: LostError) -> None:
        self.leave()
        self.lost = True
        self.deadline_at = math.inf
        for waiting in (self._ready, self._answer):
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # one of the two is waited for by nobody

    def _flush_later(self) -> None:
        """Send what the process did not take at once, as soon as it does."""
        if self.process.has_mail:
            self._loop.add_writer(self.process.link, self._flush)

    def _flush(self) -> None:
        self.process.flush()
        if not self.process.has_mail:
            self._loop.remove_writer(self.process.link)


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
