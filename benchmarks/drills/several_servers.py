"""Drill: three servers share a PostgreSQL and an S3 behind Caddy, and each part dies or freezes under load.

``make drill-servers`` sends 50,000 jobs of several kinds through eight agents: small ones, some with large blobs,
some slow, some under a limit, and those of a schedule. Meanwhile servers, agents, the database, the store and the
proxy are killed, frozen and restarted, in an order that a seed decides. The promise: every acknowledged job ends
Finished with the right output and one accepted outcome, no limit is passed, no tick has two jobs, and work goes on
by itself after each fault.
"""

import random
import re
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg
from evidence import Figures, expect, run_as_script
from guests import guest
from layout import Layout
from part_faults import PartFaults, Start

from piecework import Client
from piecework.client import JobOptions
from piecework.protocol.ids import Id
from piecework.protocol.states import JobState

NARROW = "narrow"
"""Jobs of this kind are under a limit."""
LIMIT = 2
GUESTS = {
    "plain": ("uppercase",), "large": ("echo",), NARROW: ("uppercase",), "slow": ("count_slowly", "1", "400"),
}  # fmt: skip
"""The guest of each kind of job, with its arguments."""
LARGE_BYTES = 100_000
BATCH = 100
TICK_S = 2.0
URGENT = 100
PATIENCE_S = 300.0
"""For all that is left to end once no fault is left."""
BUG = re.compile(r"traceback|\bbug\b", re.IGNORECASE)


class Healed(NamedTuple):
    """What a fault cost."""

    kind: str
    away_s: float
    """How long the part was away."""
    healed_s: float
    """From the fault until a job came through whole that was submitted after it; with an agent, until all that it
    held had ended."""


class FaultPlan(NamedTuple):
    """What shall happen."""

    began: float
    end: float
    """No further fault begins then."""
    jobs: int
    rounds: int
    longest_s: float
    moments: random.Random


class Load:
    """Jobs, and what must come of them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lambdas = {
            kind: client.create_lambda(guest(name), name=kind, args=list(args))
            for kind, (name, *args) in GUESTS.items()
        }
        self.acknowledged: dict[Id, int] = {}
        """The number of each job."""
        self.others: set[Id] = set()
        """Jobs that only tried whether work goes on."""
        self.schedule = client.create_schedule("ticker", self._lambdas["plain"], b"tick", every_s=TICK_S).id

    def submit(self, numbers: range) -> None:
        """Submit these jobs, in small requests, any of which may fall into a fault."""
        for start in range(numbers.start, numbers.stop, BATCH):
            batch = range(start, min(start + BATCH, numbers.stop))
            for kind in GUESTS:
                mine = [number for number in batch if find_kind(number) == kind]
                limit: JobOptions = {"concurrency_key": kind, "concurrency_limit": LIMIT} if kind == NARROW else {}
                ids = self._client.submit_many(self._lambdas[kind], map(make_input, mine), **limit)
                self.acknowledged.update(zip(ids, mine, strict=True))

    def pass_one(self) -> None:
        """Have a job with a large input and output done before all others."""
        content = random.Random().randbytes(LARGE_BYTES)
        job = self._client.submit(self._lambdas["large"], content, priority=URGENT)
        self.others.add(job)
        expect(self._client.result(job, PATIENCE_S) == content, f"the output of job {job} is its input")

    def find_busiest(self) -> str:
        """Return the name of the agent that holds the most jobs."""
        return str(max(self._client.workers(), key=lambda each: each.running or 0).name)

    def end_held(self, agent: str) -> None:
        """Wait until all jobs have ended that an agent holds now."""
        [worker] = [each for each in self._client.workers() if each.name == agent]
        held = [job.id for job in self._client.jobs(worker=worker.id, state="Running")]
        for _ in self._client.ended(held, PATIENCE_S):
            pass

    def check_results(self) -> None:
        """Compare every output with its input."""
        seen = 0
        for job, result in self._client.results(self.acknowledged, timeout_s=PATIENCE_S):
            is_right = result.read() == make_output(self.acknowledged[job])
            expect(is_right, f"the output of job {job} belongs to its input")
            seen += 1
        expect(seen == len(self.acknowledged), "every acknowledged job has a result")

    def find_ticks(self) -> list[Id]:
        """Have the schedule rest, and return the job of each tick that has one."""
        self._client.pause_schedule(self.schedule)
        ticks = list(self._client.ticks(self.schedule))
        made = [tick.job for tick in ticks if isinstance(tick.job, Id)]
        expect(len({tick.at for tick in ticks}) == len(ticks), "no tick is noted twice")
        expect(len(set(made)) == len(made), "no job is that of two ticks")
        for _ in self._client.ended(made, PATIENCE_S):
            pass
        return made

    def count_narrow(self) -> int:
        """Return how many jobs under the limit ran at once at most, by the feed, which is in order of commits."""
        running, most = set[Id](), 0
        for event in self._client.events(after=0, lambda_=NARROW, follow=False):
            if event.state is JobState.RUNNING:
                running.add(event.job)
            else:
                running.discard(event.job)
            most = max(most, len(running))
        return most


def find_kind(number: int) -> str:
    """Return the kind of a job: of a hundred two are large, five under the limit, and four slow."""
    of_100 = number % 100
    return "large" if of_100 < 2 else NARROW if of_100 < 7 else "slow" if of_100 < 11 else "plain"


def make_input(number: int) -> bytes:
    """Return the input of a job."""
    text = f"job {number}".encode()
    return random.Random(number).randbytes(LARGE_BYTES) if find_kind(number) == "large" else text


def make_output(number: int) -> bytes:
    """Return what must come of it."""
    content = make_input(number)
    return {"large": content, "slow": b"2\n"}.get(find_kind(number), content.upper())


def drill(
    folder: Path,
    *,
    jobs: int,
    rounds: int,
    longest_s: int,
    servers: int = 3,
    agents: int = 8,
    minutes: int = 30,
    seed: int = 1,
) -> Figures:
    """Send jobs through while each kind of fault happens ``rounds`` times. Raises DrillError.

    A fault lasts ``longest_s`` seconds at most, that of a frozen agent longer. After so many minutes no further
    one begins.
    """
    began = time.monotonic()
    moments = random.Random(seed)
    plan = FaultPlan(began, began + 60 * minutes, jobs, rounds, longest_s, moments)
    with Layout(folder, servers=servers, agents=agents) as layout, layout.connect() as client:
        work = Load(client)
        work.pass_one()
        _say(began, f"{servers} servers and {agents} agents work")
        healed = _live_through_faults(work, plan, PartFaults(layout, moments))
        _say(began, f"all {len(work.acknowledged):,} jobs are submitted; waiting for their ends")
        work.check_results()
        ticks, most = work.find_ticks(), work.count_narrow()
        took_s = time.monotonic() - began
        ended = [each.now.name for each in (*layout.servers, *layout.agents) if each.now.exit_code is not None]
        layout.stop_programs()
        recorded = _check_database(layout.database.url("piecework"), work, set(ticks))
        bugs = [line for log in layout.logs for line in log.read_text().splitlines() if BUG.search(line)]
    expect(most <= LIMIT, f"no more than {LIMIT} jobs under the limit run at once: {most}")
    expect(not ended, f"all programs run to the end: {ended}")
    expect(not bugs, f"no log tells of a bug: {bugs[:5]}")
    return {
        "jobs acknowledged": len(work.acknowledged),
        **recorded,
        "jobs under the limit at once, at most": most,
        "ticks with a job": len(ticks),
        "faults": len(healed),
        **_summarise(healed),
        "whole drill, s": took_s,
    }


def _live_through_faults(work: Load, plan: FaultPlan, faults: PartFaults) -> list[Healed]:
    """Submit all jobs, a wave for each fault."""
    kinds, healed = faults.list_all(), list[Healed]()
    order = [kind for _ in range(plan.rounds) for kind in plan.moments.sample(list(kinds), len(kinds))]
    for number, kind in enumerate(order):
        wave = range(plan.jobs * number // len(order), plan.jobs * (number + 1) // len(order))
        if time.monotonic() > plan.end:
            work.submit(range(wave.start, plan.jobs))
            break
        with ThreadPoolExecutor(2) as threads:
            submission = threads.submit(work.submit, wave)
            wait((submission,), plan.moments.uniform(0.05, 0.6))
            start, times = kinds[kind]
            hold_s = times * plan.moments.uniform(0.5, 1) * plan.longest_s
            prove: Callable[[], object] = work.pass_one
            if kind.startswith("agent"):
                agent = work.find_busiest()
                faults.aim_at(agent)
                prove = partial(work.end_held, agent)
            found = _live_through(kind, start, hold_s, threads, prove)
            submission.result()
        healed.append(found)
        progress = f"{len(work.acknowledged):,} jobs submitted"
        _say(plan.began, f"{kind}: away {found.away_s:.1f} s, healed after {found.healed_s:.1f} s; {progress}")
    return healed


def _live_through(
    kind: str, start: Start, hold_s: float, threads: ThreadPoolExecutor, prove: Callable[[], object]
) -> Healed:
    """Have a fault happen, and measure how long it takes until ``prove`` shows that work goes on."""
    began = time.monotonic()

    def heal() -> float:
        prove()
        return time.monotonic() - began

    with start():
        proof = threads.submit(heal)
        threading.Event().wait(hold_s)
    away_s = time.monotonic() - began
    return Healed(kind, away_s, proof.result())


def _check_database(url: str, work: Load, ticks: set[Id]) -> dict[str, object]:
    """Count what is recorded, in SQL, with the servers stopped."""
    with closing(psycopg.connect(url)) as database:
        states = dict(database.execute("SELECT id, state FROM jobs"))
        ends = "SELECT job_id FROM events WHERE state = 'Finished' AND detail NOT LIKE 'refused:%'"
        accepted = Counter(job for (job,) in database.execute(ends))
        [(refused,)] = database.execute("SELECT count(*) FROM events WHERE detail LIKE 'refused:%'")
        [(lost,)] = database.execute("SELECT coalesce(sum(vanished), 0) FROM jobs")
        by_agent = database.execute("SELECT count(*) FROM jobs GROUP BY worker_id").fetchall()
    wanted = work.acknowledged.keys() | work.others | ticks
    expect(wanted == states.keys(), f"the jobs are those acknowledged, none twice: {len(wanted)}, {len(states)}")
    expect(set(states.values()) == {"Finished"}, f"all are Finished: {Counter(states.values())}")
    expect(set(accepted.values()) == {1}, f"each has one accepted outcome: {accepted.most_common(3)}")
    expect(accepted.keys() == states.keys(), "each has an accepted outcome")
    return {
        "of these Finished, each with one accepted outcome and the right output": len(work.acknowledged),
        "leases that ran out": lost,
        "outcomes refused as late": refused,
        "jobs by agent": ", ".join(str(count) for (count,) in sorted(by_agent)),
    }


def _summarise(healed: Sequence[Healed]) -> dict[str, object]:
    """Return a line for each kind of fault."""
    by_kind: defaultdict[str, list[Healed]] = defaultdict(list)
    for each in healed:
        by_kind[each.kind].append(each)
    return {
        f"{kind}: healed after, s": f"{statistics.median(each.healed_s for each in alike):.1f}, "
        f"at most {max(each.healed_s for each in alike):.1f} "
        f"(away {statistics.median(each.away_s for each in alike):.1f}; {len(alike)} times)"
        for kind, alike in sorted(by_kind.items())
    }


def _say(began: float, text: str) -> None:
    sys.stdout.write(f"{time.monotonic() - began:6.0f} s  {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    title = "Three servers, each part killed and frozen"
    run_as_script(title, drill, jobs=50_000, rounds=3, longest_s=8, minutes=30, seed=1)
