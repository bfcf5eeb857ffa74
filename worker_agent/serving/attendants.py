"""Guest processes that answer requests: each one at a time, each request in a fresh instance.

While all have a request to answer, quick ones get the next already, so that they need not wait for it.

All of this happens in one event loop; only starting and ending processes waits, in a thread of its own.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import structlog

from piecework.protocol.codes import ErrorKind
from worker_agent.errors import AgentError
from worker_agent.guests.frames import Assign, Done
from worker_agent.guests.process import GuestProcess
from worker_agent.runtimes.services.store import MemoryStore
from worker_agent.serving.attendant import (
    LOOK_S,
    QUICK_S,
    Attendant,
    LostError,
    OverdueError,
    ReturnedError,
    describe_loss,
)
from worker_agent.serving.function import Function, FunctionError, Version
from worker_agent.serving.journal import Journal
from worker_agent.serving.scratch import Scratch

RESTART_S, RESTART_MAX_S = 0.2, 30.0
"""Pauses between starts that fail."""
HANG_UP_S = 1.0
"""A call that takes longer is stopped when its caller hangs up."""

log = structlog.get_logger("function")


class BusyError(AgentError):
    """All guest processes are busy, and others wait already."""


class _Hand(NamedTuple):
    """A call in the hands of a process."""

    attendant: Attendant
    answer: "asyncio.Future[Done]"


class _Turn(NamedTuple):
    """A call that waits for a process."""

    task: Assign
    given: "asyncio.Future[_Hand]"
    until: float


HangUp = Callable[[], Awaitable[object]]
"""Returns when the caller has hung up."""


@dataclass(slots=True)
class _Caller:
    """Somebody who waits for an answer."""

    hang_up: HangUp
    since: float
    gone: "asyncio.Future[object] | None" = None


Launch = Callable[[Path], GuestProcess]
"""Starts a guest process; the file is for its last words. Raises OSError."""


class Attendants:
    """So many guest processes for one version of a function. Those that are lost are replaced."""

    def __init__(
        self, function: Function, launch: Launch, journal: Journal, *, processes: int, queue: int
    ) -> None:
        """``queue`` calls may wait for a process; more are refused."""
        self.version: Version
        self._function = function
        self._launch = launch
        self._journal = journal
        self._wanted = processes
        self._queue = queue
        self._store = MemoryStore()
        self._all: set[Attendant] = set()
        self._idle: list[Attendant] = []
        self._waiting: deque[_Turn] = deque()
        self._callers: dict[int, _Caller] = {}
        """By the keys of their calls."""
        self._trouble = ""
        """Why the last process did not start; "" when it did."""
        self._gone = asyncio.Event()
        """All processes have ended."""
        self._chores: set[asyncio.Future[object]] = set()
        self._keeping = False
        """Processes that end are replaced."""
        self._timer: asyncio.TimerHandle | None = None
        self._starting = asyncio.Lock()
        self._scratch = Scratch("piecework-serve-")
        # The kernel ends a process together with the thread that started it: this one lives as long as they do.
        self._starter = ThreadPoolExecutor(1, "starter")

    async def open(self) -> None:
        """Read the code, and start. Returns when the first process is ready. Raises FunctionError."""
        self._keeping = True
        try:
            self.version = await asyncio.to_thread(self._function.read, self._scratch.path)
            self._do(self._watch())
            await self._add()
        except (FunctionError, LostError, OSError) as error:
            await self.close()
            raise FunctionError(str(error)) from error
        self._do(self._fill())

    def find_trouble(self) -> str:
        """Return why no call can be answered now; "" when one can."""
        return "" if any(each.ready and not each.lost for each in self._all) else self._trouble

    async def perform(self, task: Assign, wait_s: float, hang_up: HangUp | None = None) -> Done:
        """Have a call done; it ends early when its caller hangs up.

        Raises BusyError when no process is free in time, LostError.
        """
        if hang_up is not None:
            self._callers[task.key] = _Caller(hang_up, time.monotonic())
        try:
            return await self._perform(task, wait_s)
        finally:
            caller = self._callers.pop(task.key, None)
            if caller is not None and caller.gone is not None:
                caller.gone.cancel()

    async def _perform(self, task: Assign, wait_s: float) -> Done:
        room: float = self._queue
        until = time.monotonic() + wait_s
        while True:
            attendant, answer = self._give(task) or await self._wait(task, until, room)
            # Another process can do what this one does not begin with, whoever else waits.
            room = math.inf
            try:
                return await answer
            except ReturnedError:
                if self._has_left(task.key):
                    raise BusyError from None
            except LostError as error:
                end = await self._bury(attendant, error)
                if attendant.has_begun(task.key):
                    raise type(error)(end) from error
                log.warning("guest process lost", reason=end)
            except BaseException:
                await self._bury(attendant, OverdueError())
                raise

    async def close(self) -> None:
        """Let calls end, and end all processes. Safe to repeat."""
        self._keeping = False
        while self._idle:
            await self._bury(self._idle.pop(), OverdueError())
        if self._all:
            self._gone.clear()
            await self._gone.wait()
        for chore in self._chores:
            chore.cancel()
        self._refuse(math.inf)
        self._starter.shutdown(wait=False)
        self._scratch.remove()

    def _give(self, task: Assign) -> _Hand | None:
        """Give a call to a process that is free, or soon will be; None when there is none."""
        while self._idle:
            attendant = self._idle.pop()
            if not attendant.lost:
                return self._hand(attendant, task)
            self._do(self._mourn(attendant))
        if self._waiting or self._count_waiting() >= self._queue:
            return None
        return next((self._hand(each, task) for each in self._all if each.ready and each.takes(task)), None)

    def _hand(self, attendant: Attendant, task: Assign) -> _Hand:
        hand = _Hand(attendant, attendant.give(task))
        if attendant.has_ahead and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(QUICK_S, self._call_back)
        return hand

    def _call_back(self) -> None:
        """Have what waits behind calls that take long done elsewhere."""
        self._timer = None
        now = time.monotonic()
        for attendant in self._all:
            attendant.recall(now)
        if any(attendant.has_ahead for attendant in self._all):
            self._timer = asyncio.get_running_loop().call_later(QUICK_S, self._call_back)

    def _count_waiting(self) -> int:
        return len(self._waiting) + sum(attendant.load > 1 for attendant in self._all)

    async def _wait(self, task: Assign, until: float, room: float) -> _Hand:
        if self._count_waiting() >= room:
            raise BusyError
        turn = _Turn(task, asyncio.get_running_loop().create_future(), until)
        place = len(self._waiting)
        while place and self._waiting[place - 1].task.key > task.key:  # it was given back
            place -= 1
        self._waiting.insert(place, turn)
        return await turn.given

    def _share(self, attendant: Attendant) -> None:
        """Give a process that is done with a call what waits."""
        while self._waiting and attendant.takes(self._waiting[0].task):
            turn = self._waiting.popleft()
            if not turn.given.done():
                turn.given.set_result(self._hand(attendant, turn.task))
        if attendant.load:
            return
        if self._keeping:
            self._idle.append(attendant)
        else:
            self._do(self._bury(attendant, OverdueError()))

    async def _add(self) -> None:
        """Start one more process, and have it rehearse a call. Raises FunctionError, LostError, OSError."""
        loop = asyncio.get_running_loop()
        words = self._scratch.path / f"{time.monotonic_ns()}.stderr"
        process = await loop.run_in_executor(self._starter, self._launch, words)
        attendant = Attendant(process, loop, self._store, self._journal)
        self._all.add(attendant)
        try:
            await attendant.start()
            done = await attendant.perform(self.version.assign_rehearsal())
        except LostError as error:
            raise LostError(await self._bury(attendant, error)) from error
        if done.result.error is not None:
            await self._bury(attendant, OverdueError())
            fault = "cannot run" if done.result.error.kind is ErrorKind.LOAD else "does not start"
            raise FunctionError(f"{self._function.file} {fault}: {done.result.error.message}")
        attendant.ready, self._trouble = True, ""
        attendant.freed = self._share
        self._share(attendant)

    async def _bury(self, attendant: Attendant, why: LostError) -> str:
        """End a process, have it replaced, and tell how it ended. Safe to repeat."""
        if attendant.burial is None:
            attendant.burial = asyncio.ensure_future(self._end(attendant, why))
        return await asyncio.shield(attendant.burial)

    async def _end(self, attendant: Attendant, why: LostError) -> str:
        attendant.lose(why)
        process = attendant.process
        loop = asyncio.get_running_loop()
        end = await loop.run_in_executor(None, process.kill if why.overdue else process.bury)
        told = describe_loss(attendant, why, self._function.bounds.timeout_s, end)
        process.last_words.unlink(missing_ok=True)
        self._all.discard(attendant)
        if not self._all:
            self._gone.set()
        if self._keeping:
            self._do(self._fill())
        return told

    async def _fill(self) -> None:
        """Start processes until there are enough."""
        pause_s = RESTART_S
        async with self._starting:
            while self._keeping and len(self._all) < self._wanted:
                try:
                    await self._add()
                except (AgentError, OSError) as error:
                    self._trouble = str(error)
                    log.warning("guest process did not start", reason=self._trouble, again_in_s=pause_s)
                    await asyncio.sleep(pause_s)
                    pause_s = min(RESTART_MAX_S, 2 * pause_s)

    async def _watch(self) -> None:
        """Look after calls that take too long, callers that wait too long or go, processes that end unasked."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            for attendant in self._all:
                attendant.look(now)
            self._refuse(now)
            self._look_at_callers(now)
            for attendant in [each for each in self._idle if each.lost]:
                self._idle.remove(attendant)
                self._do(self._mourn(attendant))

    def _look_at_callers(self, now: float) -> None:
        """End the calls whose callers have hung up."""
        for key, caller in self._callers.items():
            if caller.gone is None and now >= caller.since + HANG_UP_S:
                caller.gone = asyncio.ensure_future(caller.hang_up())
            elif caller.gone is not None and caller.gone.done():
                for attendant in self._all:
                    attendant.halt(key)
                self._refuse(math.inf, key)

    def _has_left(self, key: int) -> bool:
        """Tell whether the caller of the call with this key has hung up."""
        caller = self._callers.get(key)
        return caller is not None and caller.gone is not None and caller.gone.done()

    async def _mourn(self, attendant: Attendant) -> None:
        log.warning("guest process lost", reason=await self._bury(attendant, LostError()))

    def _refuse(self, now: float, key: int | None = None) -> None:
        """Let nobody wait longer than they want to: none of those that wait, or only the call with this key."""
        for turn in [each for each in self._waiting if each.until <= now and key in {None, each.task.key}]:
            self._waiting.remove(turn)
            if not turn.given.done():
                turn.given.set_exception(BusyError())

    def _do(self, chore: Coroutine[None, None, object]) -> None:
        """Have something done beside the calls."""
        task = asyncio.ensure_future(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
