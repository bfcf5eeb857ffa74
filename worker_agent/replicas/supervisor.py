"""All replicas of this node, each looked after by a thread of its own."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from piecework.protocol.messages import ReplicaState
from piecework.worker_agent.replicas.launcher import ReplicaSpec
from piecework.worker_agent.replicas.replica import Clock, Process, Replica, Times
from piecework.worker_agent.runtimes.streams import LogTail

log = structlog.get_logger()

LOG_BYTES = 64 * 1024
"""Kept of what the function of a replica logs."""
BUG_PAUSE_S = 5.0


class Starter(Protocol):
    """Starts the processes of one replica."""

    port: int | None
    """Where the last one listens."""

    def __call__(self) -> Process:
        """Start one. Raises AgentError."""

    def close(self) -> None:
        """Let go of what they needed."""


StarterMaker = Callable[[ReplicaSpec, LogTail, Callable[[], None]], Starter]
"""Makes one, given what takes the replica's log, and what to call when a process has ended."""


@dataclass(eq=False)
class SupervisedReplica:
    """A replica, and what belongs to it."""

    key: str
    """Its name on this node."""
    spec: ReplicaSpec
    replica: Replica
    starter: Starter
    log: LogTail
    wake: threading.Event


class Supervisor:
    """Starts, watches and stops replicas. Its methods may be called from any thread.

    ``listeners`` are called, from many threads, whenever a replica has got into another state.
    """

    def __init__(self, make_starter: StarterMaker, clock: Clock, times: Times | None = None) -> None:
        self._make_starter = make_starter
        self._clock = clock
        self._times = times or Times()
        self._changed = threading.Condition()
        """Held around ``_supervised``."""
        self._supervised: dict[str, SupervisedReplica] = {}
        self.listeners: list[Callable[[], None]] = []

    def add(self, key: str, spec: ReplicaSpec) -> SupervisedReplica:
        """Start a replica, under a key that none has."""
        wake, tail = threading.Event(), LogTail(LOG_BYTES)
        starter = self._make_starter(spec, tail, wake.set)
        replica = Replica(starter, clock=self._clock, on_change=self._tell, times=self._times)
        entry = SupervisedReplica(key, spec, replica, starter, tail, wake)
        with self._changed:
            assert key not in self._supervised, "a key names one replica"
            self._supervised[key] = entry
        self._begin_watch(entry)
        return entry

    def remove(self, *keys: str) -> None:
        """Have replicas end, after the calls that they have. Keys that name none are passed over."""
        for key in keys:
            entry = self._supervised.get(key)
            if entry is not None:
                entry.replica.stop()
                entry.wake.set()

    def replicas(self) -> list[SupervisedReplica]:
        """Return all replicas that are not gone, those added first at the start."""
        with self._changed:
            return list(self._supervised.values())

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something is so that changes with the replicas' states; False: it took too long."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """End all replicas, and wait for that; False: some still run."""
        self.remove(*[entry.key for entry in self.replicas()])
        return self.wait_for(lambda: not self._supervised, timeout_s)

    def look(self, entry: SupervisedReplica) -> float | None:
        """Do what is due for a replica; return for how long nothing else is, seconds, or None once it is gone."""
        pause_s, before = BUG_PAUSE_S, entry.replica.state
        try:
            pause_s = entry.replica.step()
        except Exception:
            log.exception("bug", replica=entry.key)
        if entry.replica.state is not before:
            _log_change(entry)
        if not entry.replica.gone:
            return pause_s
        entry.starter.close()
        with self._changed:
            del self._supervised[entry.key]
        self._tell()
        return None

    def _begin_watch(self, entry: SupervisedReplica) -> None:
        """Have somebody look after a replica from now on."""
        threading.Thread(target=self._look_after, args=(entry,), name=f"replica-{entry.key}", daemon=True).start()

    def _look_after(self, entry: SupervisedReplica) -> None:
        while (pause_s := self.look(entry)) is not None:
            entry.wake.wait(pause_s)
            entry.wake.clear()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
        for listener in self.listeners:
            listener()


def _log_change(entry: SupervisedReplica) -> None:
    replica = entry.replica
    facts = {"function": entry.spec.function, "revision": entry.spec.revision, "pid": replica.pid}
    if replica.state is ReplicaState.FAILED:
        log.warning("replica failed", **facts, reason=replica.error, failures=replica.failures)
    else:
        log.info("replica %s", replica.state.value, **facts)
