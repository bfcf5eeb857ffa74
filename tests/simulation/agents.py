"""Agents in simulated time: whole ones, but that their guests are made of nothing, and their process can die."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import msgspec
from fibers import Killed, Machine, World
from network import URL, Network, SimulatedTransport
from servers import SimulatedServer

from piecework.client import Client
from piecework.client.retries import RetryPolicy
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage, WorkerRegister
from piecework.worker_agent.agent import Agent
from piecework.worker_agent.assembly import PULSE
from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.config.settings import Settings
from piecework.worker_agent.errors import ExecutorStoppedError
from piecework.worker_agent.jobs.executing import Ended
from piecework.worker_agent.jobs.parts import Environment
from piecework.worker_agent.link.state import StateDirectory
from piecework.worker_agent.tasks import File, LeasedTask, LogUpdate, Result

RESTART_S = 6.0
"""An agent that died is started again within this time."""
FREEZE_S = 40.0
"""A process stands still for this long at most: longer than a lease."""
GUEST_FAILED = JobError(kind=ErrorKind.GUEST, message="the script says so")


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest does: the input of each job, as JSON."""

    number: int
    takes_s: float = 0.01
    fails: int = 0
    """So many executions fail before one does not."""
    kills: int = 0
    """So many executions take their agent's process with them."""
    output_bytes: int = 0
    """Beside the number."""

    def output(self) -> bytes:
        return b"%d" % self.number + b"." * self.output_bytes


Answer = Callable[[LeasedTask, Script], Result]
"""Tells what a deterministic guest gives, or what its worker says that it gives."""


class Executions:
    """What was executed, and how often: for the scripts, and for the history's judge."""

    def __init__(self) -> None:
        self.starts: dict[int, list[str]] = {}
        """The leases under which each job was started, by job id."""

    def note(self, job: int, lease: str) -> int:
        """Note a start and return how many there were before it."""
        earlier = self.starts.setdefault(job, [])
        earlier.append(lease)
        return len(earlier) - 1


class SimulatedExecutor:
    """Fulfils ``worker_agent.jobs.executing.GuestExecutor`` in simulated time."""

    def __init__(
        self, agent: "SimulatedAgent", machine: Machine, slots: int, on_done: Callable[[Ended], None]
    ) -> None:
        self._agent, self._machine, self._slots, self._on_done = agent, machine, slots, on_done
        self._waiting: list[LeasedTask] = []
        self._running: dict[tuple[int, str], LeasedTask] = {}
        self._logs: list[LogUpdate] = []
        self._stopped = False

    def start(self) -> None:
        pass

    def submit(self, *tasks: LeasedTask) -> None:
        if self._stopped:
            raise ExecutorStoppedError
        self._waiting += tasks
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._slots and not self._stopped:
            task = self._waiting.pop(0)
            self._running[int(task.job), task.lease] = task
            self._machine.start(lambda task=task: self._run(task), f"guest {int(task.job) % 10**6}")

    def _run(self, task: LeasedTask) -> None:
        given = task.task.input
        script = msgspec.json.decode(
            Path(given.path).read_bytes() if isinstance(given, File) else given, type=Script
        )
        key = (int(task.job), task.lease)
        if key not in self._running:
            return
        before = self._agent.executions.note(*key)
        self._agent.world.sleep(script.takes_s)
        if key not in self._running:
            return
        self._logs.append(LogUpdate(job=task.job, lease=task.lease, log=b"%d\n" % script.number, offset=0))
        if before < script.kills:
            self._agent.die()
            return
        if task.task.seed is not None and self._agent.answer is not None:
            self._end(key, self._agent.answer(task, script))
            return
        error = GUEST_FAILED if before < script.kills + script.fails else None
        self._end(
            key, Result(output=b"" if error else script.output(), error=error, usage=Usage(wall_s=script.takes_s))
        )

    def _end(self, key: tuple[int, str], result: Result) -> None:
        task = self._running.pop(key)
        self._fill()
        self._on_done([(task, result)])

    def cancel(self, job: int, lease: str) -> bool:
        key = (int(job), lease)
        cancelled = Result(usage=Usage(), cancelled=True)
        if key in self._running:
            self._end(key, cancelled)
            return True
        for task in self._waiting:
            if (int(task.job), task.lease) == key:
                self._waiting.remove(task)
                self._on_done([(task, cancelled)])
                return True
        return False

    def take_back(self) -> list[LeasedTask]:
        taken, self._waiting = self._waiting, []
        return taken

    def read_logs(self) -> list[LogUpdate]:
        logs, self._logs = self._logs, []
        return logs

    def stop(self, timeout_s: float) -> None:  # it takes no time
        self._stopped = True
        killed = Result(usage=Usage(), error=JobError(kind=ErrorKind.WORKER, message="the worker was shut down"))
        left = [*self._waiting, *self._running.values()]
        self._waiting, self._running = [], {}
        self._on_done([(task, killed) for task in left])

    @property
    def busy(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)


class SimulatedAgent:
    """One node's agent, through all of its starts."""

    def __init__(
        self,
        world: World,
        network: Network,
        servers: Sequence[SimulatedServer],
        executions: Executions,
        name: str,
        folder: Path,
        *,
        slots: int,
        random: Random,
        token: str | None = None,
        answer: Answer | None = None,
    ) -> None:
        self.answer, self._token = answer, token
        self.world, self.network, self.executions, self.name = world, network, executions, name
        self._servers, self._folder, self._slots, self._random = servers, folder, slots, random
        self._numbers = itertools.count(1)
        self._state: StateDirectory | None = None
        self.machine: Machine | None = None
        self.agent: Agent | None = None
        self.stays_away = False

    def start(self) -> None:
        machine = self.machine = Machine(self.world, f"{self.name}#{next(self._numbers)}")
        server = self._random.choice(self._servers)
        client = Client(URL, attempts=1)
        client.transport = SimulatedTransport(
            self.network, lambda: server, token=self._token, retries=RetryPolicy(attempts=1)
        )
        settings = Settings(server=URL, slots=self._slots, name=self.name, drain_timeout_s=3.0)
        self._state = StateDirectory(self._folder).open()
        self.agent = Agent(
            settings,
            self._state,
            BlobCache(self._folder / "blobs", capacity_bytes=2**30, threads=machine.threads()),
            WorkerRegister(
                runtime=["wasi"],
                name=self.name,
                slots=self._slots,
                incarnation=f"{self._random.getrandbits(64):x}",
            ),
            Environment(
                server=client,
                pulse_server=client.with_retries(PULSE),
                make_executor=lambda on_done: SimulatedExecutor(self, machine, self._slots, on_done),
                clock=lambda: self.world.now_s,
                threads=machine.threads(),
                random=self._random.random,
                leave=lambda _: self.die(),
            ),
        )
        machine.start(self._run, "agent")

    def _run(self) -> None:
        assert self.agent is not None
        self.agent.run()
        self.die()

    def stop(self) -> None:
        """Ask it to end in good order."""
        if self.agent is not None:
            self.agent.ask_to_stop("SIGTERM")

    def freeze(self) -> None:
        """Let its process stand still for a while, as a suspended machine does."""
        if self.machine is not None:
            self.machine.still_until_s = self.world.now_s + self._random.uniform(1.0, FREEZE_S)

    def die(self) -> None:
        """End its process as ``kill -9`` does; somebody starts it again soon."""
        machine, self.machine = self.machine, None
        if machine is None:
            return
        machine.kill()
        assert self._state is not None
        self._state.close()
        self.agent = None

        def start_again() -> None:
            self.world.sleep(self._random.uniform(0.1, RESTART_S))
            if not self.stays_away:
                self.start()

        self.network.start(start_again, f"operator of {self.name}")
        if self.world.current is not None and self.world.current.machine is machine:
            raise Killed
