"""Drill: the server is killed with -9 again and again while jobs come in and agents run them.

``python benchmarks/drills/server_kills.py`` kills it ten times under 5,000 jobs. The promise: every acknowledged
job ends Finished with the right output and exactly one accepted outcome; the agents come back by themselves.
"""

import random
import sqlite3
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

from evidence import Figures, expect, run_as_script, trouble_in
from guests import guest

from piecework import Client
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.ids import Id

BATCH = 50
PATIENCE_S = 180.0
ATTEMPTS = 30
"""A client that is told to be patient repeats a request this often while the server is away."""


class Submitter(threading.Thread):
    """Submits a wave of jobs in small requests, each of which may fall into a crash."""

    def __init__(self, client: Client, lambda_id: Id, inputs: list[bytes]) -> None:
        super().__init__(name="submitter")
        self._client = client
        self._lambda_id = lambda_id
        self._inputs = inputs
        self.acknowledged: dict[Id, bytes] = {}
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            for start in range(0, len(self._inputs), BATCH):
                batch = self._inputs[start : start + BATCH]
                ids = self._client.submit_many(self._lambda_id, batch)
                self.acknowledged.update(zip(ids, batch, strict=True))
        except Exception as error:  # noqa: BLE001  # told by whoever waits for this thread
            self.failure = error


class FragileServer:
    """A server that is killed and started again on the same port, over the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = LocalServer(folder)
        self.url = self._now.url
        self.away_s: list[float] = []

    def kill_and_start_again(self) -> None:
        """Kill it with -9, and wait until it is ready again."""
        self._now.kill()
        killed_at = time.monotonic()
        self._now = LocalServer(self._folder, port=self._now.port)
        self.away_s.append(time.monotonic() - killed_at)

    def stop(self) -> None:
        """Stop it in order."""
        self._now.stop()


def drill(folder: Path, *, jobs: int, kills: int, agents: int, seed: int = 1) -> Figures:
    """Kill a server ``kills`` times while ``jobs`` jobs run through ``agents`` agents. Raises DrillError."""
    began = time.monotonic()
    with ExitStack() as stack:
        server = FragileServer(folder)
        stack.callback(server.stop)
        crew = [LocalAgent(server.url, folder, f"agent-{n}", "--slots", "1") for n in range(1, agents + 1)]
        stack.callback(stop_together, crew)
        client = stack.enter_context(Client(server.url, attempts=ATTEMPTS))
        acknowledged = _submit_under_kills(client, server, _waves(jobs, kills + 1), random.Random(seed))
        per_worker = _check_results(client, acknowledged)
        took_s = time.monotonic() - began
        expect(all(agent.exit_code is None for agent in crew), "every agent still runs, without a restart")
    database = folder / "data" / "piecework.db"
    _check_database(database, acknowledged)
    trouble = trouble_in(folder / "server.log")
    expect(not trouble, f"the server's log is clean: {trouble[:5]}")
    return {
        "jobs acknowledged": len(acknowledged),
        "of these Finished, each with one accepted outcome and the right output": per_worker.total(),
        "kills with -9": len(server.away_s),
        "longest time without a server, s": max(server.away_s, default=0.0),
        "jobs by agent": ", ".join(map(str, sorted(per_worker.values()))),
        "outcomes refused as late": _count_refused(database),
        "whole drill, s": took_s,
    }


def _submit_under_kills(
    client: Client, server: FragileServer, waves: list[list[bytes]], moments: random.Random
) -> dict[Id, bytes]:
    """Submit wave after wave, killing the server somewhere in each but the last; return the acknowledged jobs."""
    lambda_id = client.create_lambda(guest("uppercase"))
    acknowledged: dict[Id, bytes] = {}
    for wave in waves:
        submitter = Submitter(client, lambda_id, wave)
        submitter.start()
        if wave is not waves[-1]:
            submitter.join(moments.uniform(0.02, 0.6))
            server.kill_and_start_again()
        submitter.join()
        expect(submitter.failure is None, f"no submission failed: {submitter.failure!r}")
        acknowledged |= submitter.acknowledged
    return acknowledged


def _waves(jobs: int, count: int) -> list[list[bytes]]:
    inputs = [f"job {number} of {jobs}".encode() for number in range(jobs)]
    return [inputs[start::count] for start in range(count)]


def _check_results(client: Client, acknowledged: dict[Id, bytes]) -> Counter[object]:
    """Compare every output with its input, through the API; return the jobs of each worker."""
    seen: Counter[object] = Counter()
    for job, result in client.results(acknowledged, timeout_s=PATIENCE_S):
        expect(result.read() == acknowledged[job].upper(), f"the output of job {job} belongs to its input")
        seen[result.info.worker] += 1
    expect(seen.total() == len(acknowledged), "every acknowledged job has a result")
    return seen


def _check_database(path: Path, acknowledged: dict[Id, bytes]) -> None:
    """Count what is recorded, in SQL, with the server stopped."""
    with closing(sqlite3.connect(path)) as database:
        states = dict(database.execute("SELECT id, state FROM jobs"))
        accepted = Counter(
            job
            for (job,) in database.execute(
                "SELECT job_id FROM events WHERE state = 'Finished' AND detail NOT LIKE 'refused:%'"
            )
        )
    expect(set(acknowledged) == set(states), "the jobs are exactly those acknowledged, none twice")
    expect(set(states.values()) == {"Finished"}, f"all are Finished: {Counter(states.values())}")
    expect(set(accepted.values()) == {1}, f"each has one accepted outcome: {accepted.most_common(3)}")
    expect(len(accepted) == len(states), "each has an accepted outcome")


def _count_refused(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        [(count,)] = database.execute("SELECT count(*) FROM events WHERE detail LIKE 'refused:%'")
    return int(count)


if __name__ == "__main__":
    run_as_script("The server killed with -9 under load", drill, jobs=5000, kills=10, agents=4)
