"""All replicas of this node, each looked after by a thread of its own."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from piecework.protocol.messages import ReplicaState
from worker_agent.replicas.launcher import ReplicaSpec
from worker_agent.replicas.replica import Clock, Process, Replica, Times
from worker_agent.runtimes.streams import LogTail

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
class Post:
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
        """Held around ``_posts``."""
        self._posts: dict[str, Post] = {}
        self.listeners: list[Callable[[], None]] = []

    def add(self, key: str, spec: ReplicaSpec) -> Post:
        """Start a replica, under a key that none has."""
        wake, tail = threading.Event(), LogTail(LOG_BYTES)
        starter = self._make_starter(spec, tail, wake.set)
        replica = Replica(starter, clock=self._clock, on_change=self._tell, times=self._times)
        post = Post(key, spec, replica, starter, tail, wake)
        with self._changed:
            assert key not in self._posts, "a key names one replica"
            self._posts[key] = post
        self._employ(post)
        return post

    def remove(self, *keys: str) -> None:
        """Have replicas end, after the calls that they have. Keys that name none are passed over."""
        for key in keys:
            post = self._posts.get(key)
            if post is not None:
                post.replica.stop()
                post.wake.set()

    def posts(self) -> list[Post]:
        """Return all replicas that are not gone, those added first at the start."""
        with self._changed:
            return list(self._posts.values())

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something is so that changes with the replicas' states; False: it took too long."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """End all replicas, and wait for that; False: some still run."""
        self.remove(*[post.key for post in self.posts()])
        return self.wait_for(lambda: not self._posts, timeout_s)

    def look(self, post: Post) -> float | None:
        """Do what is due for a replica; return for how long nothing else is, seconds, or None once it is gone."""
        pause_s, before = BUG_PAUSE_S, post.replica.state
        try:
            pause_s = post.replica.step()
        except Exception:
            log.exception("bug", replica=post.key)
        if post.replica.state is not before:
            _log_change(post)
        if not post.replica.gone:
            return pause_s
        post.starter.close()
        with self._changed:
            del self._posts[post.key]
        self._tell()
        return None

    def _employ(self, post: Post) -> None:
        """Have somebody look after a replica from now on."""
        threading.Thread(target=self._look_after, args=(post,), name=f"replica-{post.key}", daemon=True).start()

    def _look_after(self, post: Post) -> None:
        while (pause_s := self.look(post)) is not None:
            post.wake.wait(pause_s)
            post.wake.clear()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
        for listener in self.listeners:
            listener()


def _log_change(post: Post) -> None:
    replica = post.replica
    facts = {"function": post.spec.function, "revision": post.spec.revision, "pid": replica.pid}
    if replica.state is ReplicaState.FAILED:
        log.warning("replica failed", **facts, reason=replica.error, failures=replica.failures)
    else:
        log.info("replica %s", replica.state.value, **facts)
