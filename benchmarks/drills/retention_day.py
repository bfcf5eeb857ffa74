"""Drill: a day of small jobs that stay for an hour.

``python benchmarks/drills/retention_day.py`` sends 1,000,000 jobs through the services of a server, evenly spread
over 24 hours of simulated time; each stays an hour after its end. The promise: after the first hours neither the
database nor the time that a claim takes grows. Writes a table and a picture to ``benchmarks/results``.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from curves import Panel, draw

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, ContractRequest, JobSpec, LambdaCreate, Outcome, WorkerRegister
from piecework.protocol.states import JobState
from piecework.server.services import open_services
from piecework.server.services.free_pages import FreePages
from piecework.server.services.queue.waiting.pauses import wait_out
from piecework.server.settings import Settings

RESULTS = Path(__file__).parents[1] / "results"
START_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
TICKS = 60
"""Times in each hour at which jobs come."""
MB = 1_000_000


class Hour(NamedTuple):
    """What an hour came to."""

    number: int
    database_mb: float
    jobs: int
    claim_us: float
    """CPU time of a contract that leases all jobs of a tick, for each of them; the median."""
    removal_ms: float
    """CPU time of the longest step of the sweep, which is one transaction."""


class Day:
    """Services with a clock that stands until it is moved."""

    def __init__(self, data: Path, retain: str) -> None:
        self._now = START_MS
        self._data = data
        self.services = open_services(
            Settings(data=data, synchronous="OFF", retain_finished=retain), lambda: self._now
        )
        self._room = FreePages(self.services.database)
        self._lambda = Id(self.services.lambdas.create(LambdaCreate(codex=Id(0), runtime="x")).id)
        register = WorkerRegister(runtime=["x"], name="worker", slots=1000, incarnation="first")
        self._worker = self.services.workers.register(register).id

    def pass_hour(self, number: int, jobs: int) -> Hour:
        claims, removals = [], [0.0]
        for tick in range(TICKS):
            count = jobs * (tick + 1) // TICKS - jobs * tick // TICKS
            claims.append(self._run(count) / count * 1e6)
            self._now += HOUR_MS // TICKS
            removals += self._sweep()
        return Hour(number, self._measure() / MB, self._count(), statistics.median(claims), max(removals) * 1000)

    def _run(self, count: int) -> float:
        """Submit, claim and finish some jobs. Returns the CPU time of the claim, seconds."""
        spec = JobSpec(lambda_=self._lambda, input=Content(text="a small input"))
        self.services.submission.submit([spec] * count)
        began = time.process_time()
        got = wait_out(
            self.services.contracts.contract(self._worker, ContractRequest(max=count, incarnation="first"))
        )
        took_s = time.process_time() - began
        outcomes = [
            Outcome(job=Id(each.id), lease=str(each.lease), state=JobState.FINISHED, output=Content(text="done"))
            for each in got.jobs
        ]
        assert len(outcomes) == count, "every job is claimed at once"
        self.services.outcomes.finish(self._worker, outcomes)
        return took_s

    def _sweep(self) -> list[float]:
        """Remove what is due. Returns the CPU times of the steps, seconds."""
        took, more = [], True
        while more:
            began = time.process_time()
            more = self.services.retention.step() or self._room.step()
            took.append(time.process_time() - began)
        return took

    def _measure(self) -> int:
        return sum(path.stat().st_size for path in self._data.glob("piecework.db*"))

    def _count(self) -> int:
        with self.services.database.read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar_one())


def draw_hours(hours: list[Hour]) -> str:
    """Return a picture of the database's size and of the time of a claim, hour by hour."""
    sizes = Panel("database, MB", {"file": [(each.number, each.database_mb) for each in hours]})
    claims = Panel("claim of a job, CPU µs", {"median": [(each.number, each.claim_us) for each in hours]})
    return draw([sizes, claims], "h")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", type=int, default=1_000_000, help="in the whole day")
    options.add_argument("--hours", type=int, default=24)
    options.add_argument("--retain", default="1h")
    given = options.parse_args()
    hours = []
    with tempfile.TemporaryDirectory() as folder:
        day = Day(Path(folder), given.retain)
        print("| hour | database, MB | jobs in it | claim of a job, CPU µs | longest step of the sweep, CPU ms |")
        print("| --: | --: | --: | --: | --: |")
        for number in range(1, given.hours + 1):
            hours.append(hour := day.pass_hour(number, given.jobs // given.hours))
            print(
                f"| {hour.number} | {hour.database_mb:.1f} | {hour.jobs:,} | {hour.claim_us:.0f} |"
                f" {hour.removal_ms:.0f} |",
                flush=True,
            )
        day.services.close()
    (RESULTS / "retention.svg").write_text(draw_hours(hours))
    assert hours[-1].database_mb < 1.1 * hours[3 * len(hours) // 24 or 1].database_mb, "the database grows"


if __name__ == "__main__":
    main()
