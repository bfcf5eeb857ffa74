"""Drill: whoever serves a function is killed with -9 while calls come in.

``python benchmarks/drills/function_kills.py`` has two agents serve a function with three replicas, and calls it
all the while through the server. First a replica is killed, then an agent with all it serves, then the server.
The promise: a call fails only while the server itself is away, and all replicas come back by themselves.
"""

import http.client
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

from evidence import Figures, expect, run_as_script, trouble_in
from guests import guest

from piecework import Client
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.messages import DeploymentPut, ReplicaState, RevisionInfo

REPLICAS = 3
PATIENCE_S = 60.0
LOOK_S = 0.05
PAUSE_S = 0.01
"""Between two calls of one caller: the machine must have time left to start processes."""
ANSWER = b'{"message":"hey people!"}'
METHODS = ("GET", "PUT")
"""Both may be repeated on another replica; a POST may not, once it was sent."""


class Caller(threading.Thread):
    """Calls the function again and again, over one connection as long as that lasts."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(name="caller")
        self._port = port
        self._stopping = stop
        self.ends: Counter[str] = Counter()
        """How many calls ended well, how many with which error, since somebody looked last."""

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        for method in cycle(METHODS):
            if self._stopping.is_set():
                connection.close()
                return
            self.ends[self._call(connection, method)] += 1
            self._stopping.wait(PAUSE_S)

    @staticmethod
    def _call(connection: http.client.HTTPConnection, method: str) -> str:
        try:
            connection.request(method, "/functions/hello", body=b"" if method == "GET" else b"hello")
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__
        return "ok" if (response.status, body) == (200, ANSWER) else f"{response.status}: {body[:200]!r}"


class Scene:
    """A function that is served and called."""

    def __init__(self, folder: Path, stack: ExitStack, callers: int) -> None:
        self._folder = folder
        self.server = LocalServer(folder)
        stack.callback(self._stop_server)
        self.agents = [self._start_agent(number) for number in (1, 2)]
        stack.callback(stop_together, self.agents)
        self.client = stack.enter_context(Client(self.server.url, attempts=30))
        codex = self.client.upload(guest("capsule_hello")).id
        self.client.deploy("hello", "one", DeploymentPut(codex=codex, replicas=REPLICAS))
        self.wait_for_replicas(set())
        stop = threading.Event()
        self._callers = [Caller(self.server.port, stop) for _ in range(callers)]
        for caller in self._callers:
            caller.start()
            stack.callback(caller.join)
        stack.callback(stop.set)

    def _start_agent(self, number: int) -> LocalAgent:
        name = f"agent-{number}"
        return LocalAgent(self.server.url, self._folder, name, "--slots", "1", "--functions", str(REPLICAS))

    def _stop_server(self) -> None:
        self.server.stop()

    def read_revision(self) -> RevisionInfo:
        return self.client.function("hello").revisions[0]

    def find_pids(self) -> dict[int, str]:
        """Return the process of each replica that runs, with the name of its agent."""
        running = [each for each in self.read_revision().replicas if each.state is ReplicaState.RUNNING]
        return {each.pid: each.worker_name for each in running if isinstance(each.pid, int)}

    def wait_for_replicas(self, dead: set[int]) -> None:
        """Wait until all replicas run, none in a process that was killed."""

        def healed() -> bool:
            found = self.find_pids()
            return len(found) == REPLICAS and not dead & found.keys()

        self._wait(healed, f"{REPLICAS} replicas run")

    def wait_for_answer(self) -> None:
        """Wait until a call that ended since the last look was answered."""
        self._wait(lambda: any(caller.ends["ok"] for caller in self._callers), "calls are answered")

    def _wait(self, reached: Callable[[], bool], promise: str) -> None:
        began, pause = time.monotonic(), threading.Event()
        while not reached():
            expect(time.monotonic() < began + PATIENCE_S, f"{promise}; now {self.read_revision()}")
            pause.wait(LOOK_S)

    def take_ends(self) -> Counter[str]:
        """Return how calls ended since this was asked last."""
        total: Counter[str] = Counter()
        for caller in self._callers:
            ended, caller.ends = caller.ends, Counter()
            total += ended
        return total

    def suffer(self, harm: Callable[[], set[int]]) -> tuple[float, Counter[str]]:
        """Do harm, which returns the processes that it ended; return how long healing took, how calls ended."""
        self.take_ends()
        began = time.monotonic()
        self.wait_for_replicas(harm())
        self.wait_for_answer()
        return time.monotonic() - began, self.take_ends()

    def kill_replica(self) -> set[int]:
        """Kill one function process."""
        victim = min(self.find_pids())
        os.kill(victim, signal.SIGKILL)
        return {victim}

    def kill_agent(self) -> set[int]:
        """Kill the agent that serves most, and with it what it serves; another one is there."""
        pids = self.find_pids()
        name, _ = Counter(pids.values()).most_common(1)[0]
        (victim,) = (agent for agent in self.agents if agent.name == f"agent {name}")
        self.agents.remove(victim)
        victim.kill()
        return {pid for pid, worker in pids.items() if worker == name}

    def kill_server(self) -> set[int]:
        """Kill the server and start it again. Nothing that serves ends by that."""
        self.server.kill()
        self.server = LocalServer(self._folder, port=self.server.port)
        return set()


def drill(folder: Path, *, callers: int) -> Figures:
    """Kill a replica, an agent and the server while ``callers`` threads call. Raises DrillError."""
    with ExitStack() as stack:
        scene = Scene(folder, stack, callers)
        by_replica_s, after_replica = scene.suffer(scene.kill_replica)
        by_agent_s, after_agent = scene.suffer(scene.kill_agent)
        before = scene.find_pids()
        by_server_s, after_server = scene.suffer(scene.kill_server)
        expect(scene.find_pids().keys() == before.keys(), "the replicas outlive the server")
        scene.wait_for_answer()
        last = scene.take_ends()
    expect(set(after_replica) <= {"ok"}, f"no call fails when a replica is killed: {after_replica}")
    expect(set(after_agent) <= {"ok"}, f"no call fails when an agent is killed: {after_agent}")
    expect(set(last) <= {"ok"}, f"no call fails when the server is back: {last}")
    trouble = trouble_in(folder / "server.log")
    expect(not trouble, f"the server's log is clean: {trouble[:5]}")
    return {
        "replica killed: all there again, s": by_replica_s,
        "calls meanwhile, all answered": after_replica.total(),
        "agent killed: all there again, s": by_agent_s,
        "calls meanwhile, all answered ": after_agent.total(),
        "server killed: answers again, s": by_server_s,
        "calls meanwhile": ", ".join(f"{count} {end}" for end, count in after_server.most_common()),
    }


if __name__ == "__main__":
    run_as_script("Function processes, agents and the server killed with -9 under calls", drill, callers=8)
