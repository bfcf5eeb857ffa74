"""Guest processes that answer requests: each one at a time, each request in a fresh instance.

All of this happens in one event loop; only starting and ending processes waits, in a thread of its own.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import structlog

from piecework.protocol.exchange import Request
from worker_agent.errors import AgentError
from worker_agent.executor.frames import Done, Serving
from worker_agent.executor.process import GuestProcess
from worker_agent.functions.attendant import LOOK_S, Attendant, LostError, OverdueError, describe_loss
from worker_agent.functions.function import Function, FunctionError, Version
from worker_agent.functions.journal import Journal
from worker_agent.functions.scratch import Scratch
from worker_agent.runtimes.services.store import MemoryStore

RESTART_S, RESTART_MAX_S = 0.2, 30.0
"""Pauses between starts that fail."""

log = structlog.get_logger("function")


class BusyError(AgentError):
    """All guest processes are busy, and others wait already."""


class _Turn(NamedTuple):
    """A call that waits for a process."""

    taken: "asyncio.Future[Attendant]"
    until: float


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

    async def perform(self, request: Request, http_port: int, wait_s: float, mode: str | None = None) -> Done:
        """Have a request answered. Raises BusyError when no process is free in time, LostError."""
        task = self.version.assign(serving=Serving(request, http_port), mode=mode)
        room: float = self._queue
        while True:
            attendant = self._take() or await self._wait(wait_s, room)
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

    async def _wait(self, wait_s: float, room: float) -> Attendant:
        if len(self._waiting) >= room:
            raise BusyError
        turn = _Turn(asyncio.get_running_loop().create_future(), time.monotonic() + wait_s)
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
        """Start one more process, and give it the code. Raises FunctionError, LostError, OSError."""
        loop = asyncio.get_running_loop()
        words = self._scratch.path / f"{time.monotonic_ns()}.stderr"
        process = await loop.run_in_executor(self._starter, self._launch, words)
        attendant = Attendant(process, loop, self._store, self._journal)
        self._all.add(attendant)
        try:
            await attendant.start()
            done = await attendant.perform(self.version.assign(serving=Serving()))
        except LostError as error:
            raise LostError(await self._bury(attendant, error)) from error
        if done.error is not None:
            await self._bury(attendant, OverdueError())
            raise FunctionError(f"{self._function.file} cannot run: {done.error.message}")
        self._give_back(attendant)

    async def _bury(self, attendant: Attendant, why: LostError) -> str:
        """End a process, have it replaced, and tell how it ended."""
        attendant.leave()
        process = attendant.process
        loop = asyncio.get_running_loop()
        end = await loop.run_in_executor(None, process.kill if why.overdue else process.bury)
        self._all.discard(attendant)
        if not self._all:
            self._gone.set()
        if self._keeping:
            self._do(self._fill())
        return describe_loss(process, why, self._function.bounds.timeout_s, end)

    async def _fill(self) -> None:
        """Start processes until there are enough."""
        pause_s = RESTART_S
        async with self._starting:
            while self._keeping and len(self._all) < self._wanted:
                try:
                    await self._add()
                except (AgentError, OSError) as error:
                    log.warning("guest process did not start", reason=str(error), again_in_s=pause_s)
                    await asyncio.sleep(pause_s)
                    pause_s = min(RESTART_MAX_S, 2 * pause_s)

    async def _watch(self) -> None:
        """Look after calls that take too long, callers that wait too long, and processes that end unasked."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            for attendant in self._all:
                attendant.look(now)
            self._refuse(now)
            for attendant in [each for each in self._idle if each.lost]:
                self._idle.remove(attendant)
                self._do(self._mourn(attendant))

    async def _mourn(self, attendant: Attendant) -> None:
        log.warning("guest process lost", reason=await self._bury(attendant, LostError()))

    def _refuse(self, now: float) -> None:
        """Let nobody wait longer than they want to."""
        for turn in [each for each in self._waiting if each.until <= now]:
            self._waiting.remove(turn)
            if not turn.taken.done():
                turn.taken.set_exception(BusyError())

    def _do(self, chore: Coroutine[None, None, object]) -> None:
        """Have something done beside the calls."""
        task = asyncio.ensure_future(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
