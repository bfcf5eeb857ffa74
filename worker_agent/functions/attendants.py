"""Guest processes that answer requests: each one at a time, each request in a fresh instance.

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
from worker_agent.executor.frames import Assign, Done
from worker_agent.executor.process import GuestProcess
from worker_agent.functions.attendant import LOOK_S, Attendant, LostError, OverdueError, describe_loss
from worker_agent.functions.function import Function, FunctionError, Version
from worker_agent.functions.journal import Journal
from worker_agent.functions.scratch import Scratch
from worker_agent.runtimes.services.store import MemoryStore

RESTART_S, RESTART_MAX_S = 0.2, 30.0
"""Pauses between starts that fail."""
HANG_UP_S = 1.0
"""A call that takes longer is stopped when its caller hangs up."""

log = structlog.get_logger("function")


class BusyError(AgentError):
    """All guest processes are busy, and others wait already."""


class _Turn(NamedTuple):
    """A call that waits for a process."""

    key: int
    taken: "asyncio.Future[Attendant]"
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
        while True:
            attendant = self._take() or await self._wait(task.key, wait_s, room)
            try:
                done = await attendant.perform(task)
            except LostError as error:
                end = await self._bury(attendant, error)
                if attendant.process.working_on == task.key:
                    raise type(error)(end) from error
                # It ended before it began with this: another one can, whoever else waits.
                room = math.inf
                log.warning("guest process lost", reason=end)
            except BaseException:
                await self._bury(attendant, OverdueError())
                raise
            else:
                self._give_back(attendant)
                return done

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

    def _take(self) -> Attendant | None:
        """Return a process that is free and there; None when there is none."""
        while self._idle:
            attendant = self._idle.pop()
            if not attendant.lost:
                return attendant
            self._do(self._mourn(attendant))
        return None

    async def _wait(self, key: int, wait_s: float, room: float) -> Attendant:
        if len(self._waiting) >= room:
            raise BusyError
        turn = _Turn(key, asyncio.get_running_loop().create_future(), time.monotonic() + wait_s)
        self._waiting.append(turn)
        return await turn.taken

    def _give_back(self, attendant: Attendant) -> None:
        while self._waiting:
            taken = self._waiting.popleft().taken
            if not taken.done():
                taken.set_result(attendant)
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
        if done.error is not None:
            await self._bury(attendant, OverdueError())
            fault = "cannot run" if done.error.kind is ErrorKind.LOAD else "does not start"
            raise FunctionError(f"{self._function.file} {fault}: {done.error.message}")
        attendant.ready, self._trouble = True, ""
        self._give_back(attendant)

    async def _bury(self, attendant: Attendant, why: LostError) -> str:
        """End a process, have it replaced, and tell how it ended."""
        attendant.leave()
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

    async def _mourn(self, attendant: Attendant) -> None:
        log.warning("guest process lost", reason=await self._bury(attendant, LostError()))

    def _refuse(self, now: float, key: int | None = None) -> None:
        """Let nobody wait longer than they want to: none of those that wait, or only the call with this key."""
        for turn in [each for each in self._waiting if each.until <= now and key in {None, each.key}]:
            self._waiting.remove(turn)
            if not turn.taken.done():
                turn.taken.set_exception(BusyError())

    def _do(self, chore: Coroutine[None, None, object]) -> None:
        """Have something done beside the calls."""
        task = asyncio.ensure_future(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
