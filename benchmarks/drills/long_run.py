"""Drill: an agent works for long.

``python benchmarks/drills/long_run.py`` sends 500,000 jobs, about as many as a busy node has in a day, through a
server and an agent: many lambdas, inputs of every size, guests that fail, trap, log, or have to be stopped, and
pauses. The promise: what server, agent and guest processes have in memory after a tenth of them is what they have
at the end.
"""

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from evidence import MIB, Figures, expect, memory_bytes, process_tree, run_as_script, thread_count, trouble_in
from guests import guest
from mutations import encode_number

from piecework import Client
from piecework.local import open_house
from piecework.protocol.ids import Id
from piecework.protocol.messages import Backoff, Limits

LAMBDAS = 200
"""Other code, and the same effect: more than a guest process keeps loaded."""
WAVE = 1000
AT_ONCE = Backoff(kind="none")
LARGE_BYTES = 100_000
PAUSE_S = 0.5
PATIENCE_S = 300.0
GROWTH_MAX_BYTES = {"server": 48 * MIB, "agent": 3 * MIB, "guest processes": 4 * MIB}
"""The server's connection that writes keeps up to 20 MB of its database, which is still small after a tenth."""


class State(NamedTuple):
    """What the programs had at one moment."""

    memory_bytes: dict[str, int]
    threads: int
    """Of the agent and its guest processes."""

    @classmethod
    def look(cls, server: int, agent: int) -> "State":
        guests = sum(memory_bytes(pid) for pid in process_tree(agent)[1:])
        sizes = {"server": memory_bytes(server), "agent": memory_bytes(agent) - guests, "guest processes": guests}
        return cls(sizes, thread_count(agent))


class Line:
    """Sends waves of jobs of every kind, the same for the same seed."""

    def __init__(self, client: Client, seed: int) -> None:
        self._client = client
        self._noise = random.Random(seed)
        create = client.create_lambda
        self._plain = [create(mark(guest("uppercase"), number)) for number in range(LAMBDAS)]
        self._echo = create(guest("echo"))
        self._ill = [create(guest(name)) for name in ("exit_with_code", "crash")]
        self._endless = [
            create(guest(name), limits=Limits(timeout_s=0.2)) for name in ("loop_forever", "log_forever")
        ]

    def run(self, jobs: int) -> None:
        """Run so many jobs to their ends. Raises DrillError."""
        while jobs > 0:
            wave = list(self._submit(min(jobs, WAVE)))
            ended = sum(1 for _ in self._client.results(wave, timeout_s=PATIENCE_S))
            expect(ended == len(wave), f"every job comes to an end: {ended} of {len(wave)}")
            jobs -= ended
            threading.Event().wait(PAUSE_S)  # the agent's poll waits at the server

    def _submit(self, jobs: int) -> Iterator[Id]:
        send, noise = self._client.submit_many, self._noise
        yield from send(self._echo, [noise.randbytes(LARGE_BYTES) for _ in range(jobs // 50)])
        for lambda_ in self._ill:
            yield from send(lambda_, [b"x"] * (jobs // 50), max_attempts=2, backoff=AT_ONCE)
        for lambda_ in self._endless:
            yield from send(lambda_, [b"x"], max_attempts=1)
        for lambda_ in noise.sample(self._plain, 10):
            yield from send(lambda_, [b"job %d" % n for n in range(jobs // 20)])
        yield from send(self._echo, [b"job %d" % n for n in range(jobs - 13 * (jobs // 50) - 2)])


def mark(code: bytes, number: int) -> bytes:
    """Return other code with the same effect: with one more section, which nobody reads."""
    content = b"\4mark%d" % number
    return code + b"\0" + encode_number(len(content)) + content


def drill(folder: Path, *, jobs: int) -> Figures:
    """Run that many jobs, and compare what the programs have after a tenth and at the end. Raises DrillError."""
    with open_house(folder, "--slots", "2", agents=1) as house, Client(house.server.url) as client:
        line, pids = Line(client, seed=1), (house.server.pid, house.agents[0].pid)
        line.run(warm := max(jobs // 10, 2 * WAVE))
        before = State.look(*pids)
        line.run(jobs - warm)
        after = State.look(*pids)
    for log in folder.glob("*.log"):
        expect(not trouble_in(log), f"the logs are clean: {trouble_in(log)[:3]}")
    figures: dict[str, object] = {"jobs": f"{jobs:,}", "threads": f"{before.threads} -> {after.threads}"}
    expect(after.threads <= before.threads, f"all threads end: {figures['threads']}")
    for name, most in GROWTH_MAX_BYTES.items():
        was, now = before.memory_bytes[name], after.memory_bytes[name]
        expect(now - was < most, f"the memory of the {name} does not grow: {was:,} bytes, then {now:,}")
        figures[f"{name}, MB"] = f"{was / 1e6:.1f} -> {now / 1e6:.1f}"
    return figures


if __name__ == "__main__":
    run_as_script("An agent's day", drill, jobs=500_000)
