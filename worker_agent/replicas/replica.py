"""One replica: what becomes of it. Nothing here waits, but for the answer of a probe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from piecework.backoff import pause_after
from piecework.protocol.messages import ReplicaState
from piecework.worker_agent.errors import AgentError

Clock = Callable[[], float]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0
"""Before a replica is started again; doubled with each failure in a row."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long things may take, seconds."""

    start_s: float = 60.0
    """From the start of a process to its first good answer."""
    look_s: float = 1.0
    """Between two looks at a process that runs."""
    first_look_s: float = 0.05
    """The same while it starts."""
    settled_s: float = 60.0
    """After so much health, earlier failures do not count any more."""
    drain_s: float = 30.0
    """For the calls that a process has when it is told to end."""
    misses_max: int = 3
    """A process that does not answer so often in a row is replaced."""


@dataclass(frozen=True, slots=True)
class ReplicaFigures:
    """What a replica that answers says of itself."""

    calls: int = 0
    errors: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    unrecorded: Mapping[str, int] = field(default_factory=dict)
    """Calls that were not recorded although it was their turn, by the reason."""


class Process(Protocol):
    """A running ``worker-agent serve``. Nothing here waits, but ``kill``."""

    @property
    def pid(self) -> int: ...

    @property
    def url(self) -> str: ...

    def find_end(self) -> str | None:
        """Tell why it ended; None while it runs."""

    def probe(self) -> ReplicaFigures | None:
        """Ask how it does; None: it gave no good answer in time."""

    def drain(self) -> None:
        """Tell it to end after the calls that it has."""

    def kill(self) -> None:
        """End it at once, and wait for that."""


class Replica:
    """Keeps one process alive: starts it, looks after it, starts another when it is of no use any more.

    ``spawn`` starts a process or raises AgentError. ``step`` is called by one thread, again and again; all else
    may be called, or read, by any. ``on_change`` is called when ``state`` has changed.
    """

    def __init__(
        self,
        spawn: Callable[[], Process],
        *,
        clock: Clock,
        on_change: Callable[[], None],
        times: Times | None = None,
    ) -> None:
        self._spawn = spawn
        self._clock = clock
        self._on_change = on_change
        self._times = times or Times()
        self._process: Process | None = None
        self._stop_asked = False
        self._deadline_at = 0.0
        """When to try again, to give up a start, or to kill what does not end."""
        self._well_since = 0.0
        self._misses = 0
        self.state = ReplicaState.STARTING
        self.gone = False
        """It was stopped, and its process is no more."""
        self.error = ""
        """Why it failed last."""
        self.failures = 0
        """How often it failed without a long time of health in between."""
        self.figures = ReplicaFigures()
        self.pid: int | None = None
        """Of its process, or of the one that it had last."""

    @property
    def url(self) -> str | None:
        """Where it is to be called; None when it is not."""
        process = self._process
        return process.url if process is not None and self.state is ReplicaState.RUNNING else None

    def stop(self) -> None:
        """Have the next steps end it. Safe to repeat."""
        self._stop_asked = True

    def step(self) -> float:
        """Do what is due now, and return for how long nothing else is, unless the process ends: seconds."""
        if self._stop_asked and self.state is not ReplicaState.STOPPING:
            self._begin_end()
        if self.state is ReplicaState.STOPPING:
            return self._end()
        if self._process is None:
            pause_s = self._deadline_at - self._clock()
            return pause_s if self.state is ReplicaState.FAILED and pause_s > 0 else self._start()
        return self._look(self._process)

    def _start(self) -> float:
        self._misses, self.figures = 0, ReplicaFigures()
        self._move(ReplicaState.STARTING)
        try:
            self._process = self._spawn()
        except AgentError as error:
            return self._fail(str(error))
        self.pid = self._process.pid
        self._deadline_at = self._clock() + self._times.start_s
        return self._times.first_look_s

    def _look(self, process: Process) -> float:
        end = process.find_end()
        if end is None:
            figures = process.probe()
            if figures is not None:
                return self._note_health(figures)
            end = process.find_end() or self._note_miss()
        if end is not None:
            return self._fail(end)
        return self._times.first_look_s if self.state is ReplicaState.STARTING else self._times.look_s

    def _note_miss(self) -> str | None:
        """Note that the process gave no good answer; say why it has to go, if it has."""
        self._misses += 1
        if self.state is not ReplicaState.STARTING:
            missed = self._misses >= self._times.misses_max
            return f"it did not answer GET /health {self._misses} times in a row" if missed else None
        late = self._clock() >= self._deadline_at
        return f"it did not answer GET /health within {self._times.start_s:g} s of its start" if late else None

    def _note_health(self, figures: ReplicaFigures) -> float:
        self._misses, self.figures = 0, figures
        if self.state is not ReplicaState.RUNNING:
            self._well_since = self._clock()
            self._move(ReplicaState.RUNNING)
        elif self._clock() - self._well_since >= self._times.settled_s:
            self.failures = 0
        return self._times.look_s

    def _fail(self, reason: str) -> float:
        """Put an end to the process, and have another try later."""
        self.failures += 1
        pause_s = pause_after(self.failures, FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self.error = reason
        self._deadline_at = self._clock() + pause_s
        process, self._process = self._process, None
        # Before the process is dead for sure: nobody shall call it any more.
        self._move(ReplicaState.FAILED)
        if process is not None:
            process.kill()
        return pause_s

    def _begin_end(self) -> None:
        self._deadline_at = self._clock() + self._times.drain_s
        self._move(ReplicaState.STOPPING)
        if self._process is not None:
            self._process.drain()

    def _end(self) -> float:
        if self._process is not None:
            left_s = self._deadline_at - self._clock()
            if self._process.find_end() is None and left_s > 0:
                return left_s
            self._process.kill()
        self._process, self.gone = None, True
        self._on_change()
        return 0.0

    def _move(self, state: ReplicaState) -> None:
        if state is not self.state:
            self.state = state
            self._on_change()
