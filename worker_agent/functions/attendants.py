"""Guest processes that answer requests: each one at a time, each request in a fresh instance.

All of this happens in one event loop; only starting and ending processes waits, in a thread of its own.
"""

import asyncio
import math
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from piecework.protocol.exchange import Request
from worker_agent.errors import AgentError
from worker_agent.executor.frames import Assign, Done, Fetch, FromGuests, Loaded, Loading, Logged, Ready, Serving
from worker_agent.executor.process import GuestProcess
from worker_agent.executor.sharing import look_up
from worker_agent.functions.function import Function, FunctionError, Version
from worker_agent.functions.journal import Journal
from worker_agent.runtimes.services.store import MemoryStore

START_S, LOAD_S, GRACE_S = 30.0, 120.0, 2.0
"""How long a process may take to start and to load code, and beyond the time limit of a call until it answers."""
LOOK_S = 0.1
"""So often overdue processes are looked for."""
RESTART_S, RESTART_MAX_S = 0.2, 30.0
"""Pauses between starts that fail."""

log = structlog.get_logger("function")


class BusyError(AgentError):
    """All guest processes are busy, and others wait already."""


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
        self.deadline_at = math.inf
        self._loop = loop
        self._store = store
        self._journal = journal
        self._timeout_s = math.inf
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
        self._answer, self._logged = self._loop.create_future(), 0
        self._timeout_s = task.bounds.timeout_s + GRACE_S
        self.deadline_at = time.monotonic() + self._timeout_s
        self.process.send(task)
        self._flush_later()
        done = await self._answer
        self.deadline_at = math.inf
        self._pass_on(done.log, done.log_offset)
        return done

    async def watch(self) -> None:
        """Give up a call that takes too long, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if time.monotonic() >= self.deadline_at:
                self._fail(OverdueError())

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
                if not self._answer.done():
                    self._answer.set_result(frame)
            case Fetch():
                self.process.send(look_up(self._store, frame))
                self._flush_later()
            case Loading():
                self.deadline_at = time.monotonic() + LOAD_S
            case Loaded():
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
        self._all: dict[Attendant, asyncio.Task[None]] = {}
        self._idle: list[Attendant] = []
        self._waiting: deque[asyncio.Future[Attendant]] = deque()
        self._gone = asyncio.Event()
        """All processes have ended."""
        self._chores: set[asyncio.Future[object]] = set()
        self._keeping = False
        """Processes that end are replaced."""
        self._folder = Path(tempfile.mkdtemp(prefix="piecework-serve-"))
        # The kernel ends a process together with the thread that started it: this one lives as long as they do.
        self._starter = ThreadPoolExecutor(1, "starter")

    @property
    def is_busy(self) -> bool:
        """A call would have to wait."""
        return not self._idle

    async def open(self) -> None:
        """Read the code, and start. Returns when the first process is ready. Raises FunctionError."""
        self._keeping = True
        try:
            self.version = await asyncio.to_thread(self._function.read, self._folder)
            await self._add()
        except (FunctionError, LostError, OSError) as error:
            await self.close()
            raise FunctionError(str(error)) from error
        for _ in range(self._wanted - 1):
            self._do(self._replace())

    async def perform(self, request: Request, http_port: int, wait_s: float, mode: str | None = None) -> Done:
        """Have a request answered. Raises BusyError when no process is free in time, LostError."""
        attendant = self._idle.pop() if self._idle else await self._wait(wait_s)
        try:
            task = self.version.assign(serving=Serving(request, http_port), mode=mode)
            done = await attendant.perform(task)
        except LostError as error:
            raise type(error)(await self._bury(attendant, error)) from error
        except BaseException:
            await self._bury(attendant, OverdueError())
            raise
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
        self._starter.shutdown(wait=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _wait(self, wait_s: float) -> Attendant:
        if len(self._waiting) >= self._queue:
            raise BusyError
        turn: asyncio.Future[Attendant] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await asyncio.wait_for(turn, wait_s)
        except TimeoutError:
            raise BusyError from None
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _give_back(self, attendant: Attendant) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(attendant)
                return
        if self._keeping:
            self._idle.append(attendant)
        else:
            self._do(self._bury(attendant, OverdueError()))

    async def _add(self) -> None:
        """Start one more process, and give it the code. Raises FunctionError, LostError, OSError."""
        loop = asyncio.get_running_loop()
        words = self._folder / f"{time.monotonic_ns()}.stderr"
        process = await loop.run_in_executor(self._starter, self._launch, words)
        attendant = Attendant(process, loop, self._store, self._journal)
        self._all[attendant] = asyncio.ensure_future(attendant.watch())
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
        self._all.pop(attendant).cancel()
        if not self._all:
            self._gone.set()
        if self._keeping:
            self._do(self._replace())
        return describe_loss(process, why, self._function.bounds.timeout_s, end)

    async def _replace(self) -> None:
        pause_s = RESTART_S
        while self._keeping and len(self._all) < self._wanted:
            try:
                await self._add()
            except (AgentError, OSError) as error:
                log.warning("guest process did not start", reason=str(error), again_in_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(RESTART_MAX_S, 2 * pause_s)

    def _do(self, chore: Coroutine[None, None, object]) -> None:
        """Have something done beside the calls."""
        task = asyncio.ensure_future(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def describe_loss(process: GuestProcess, why: LostError, limit_s: float, end: str = "") -> str:
    """Say how a process ended during a call."""
    if why.overdue:
        return f"it ran longer than its limit of {limit_s:g} s, and could only be killed"
    how = end or process.bury()
    return f"the process ended while running the guest: {how} {process.read_last_words()[-300:]}".strip()
