"""How long jobs usually run, and which run far longer than that.

Nothing is noted when a job ends: what is usual is learnt from jobs that finished, when somebody asks about one
that runs, and remembered for some seconds. So it is the same on every server of a database, and after a restart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import median
from threading import Lock
from typing import NamedTuple, TypeGuard

from piecework.protocol.ids import ID_MAX
from piecework.protocol.states import JobState
from piecework.server.services.core import Core
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.leasing import runs
from piecework.server.store.queue.leasing.runs import FinishedRun, OpenRun
from piecework.server.store.records import Job
from piecework.server.store.stock import lambdas
from piecework.text.durations import LONGEST_S

LEAST_RUNS = 3
"""Fewer do not tell what is usual."""
FACTOR = 4
"""A straggler has run so many times as long as expected."""
STRAGGLING_MS = 10_000
"""No job straggles before."""
LONG_SHARE = 0.9
"""A straggler has run longer than this share of finished runs, too: there may be long jobs among short ones."""
FRESH_MS = 10_000
"""What was learnt is not learnt anew before."""
LAMBDAS_MAX = 200
"""Lambdas of which it is remembered what is usual; those that were learnt first are forgotten first."""
LEARNT_MAX = 50
"""Lambdas of which a look for stragglers learns what is usual."""
OPEN_MAX = 1000
"""Runs that a look for stragglers judges, the longest."""
LEAST_CPU_S = 0.001
"""Runs that took less do not tell how fast a worker is."""
SPEEDS_MAX = 20
"""Runs of one lambda that tell how fast a worker is."""


class Outlook(NamedTuple):
    """What is to be expected of a run that goes on."""

    expected_s: float
    """How long it usually takes on its worker."""
    eta_ms: int
    """When it ends if it takes so long, milliseconds since 1970."""
    straggles: bool
    """It has run far longer than usual."""


class Straggler(NamedTuple):
    """A job that has run far longer than usual."""

    job_id: int
    lambda_name: str
    """Its id when it has none."""
    ran_s: float
    expected_s: float


@dataclass(frozen=True, slots=True)
class UsualRun:
    """What is usual of a lambda's jobs."""

    learnt_at: int
    wall_s: float | None = None
    """Half of them took longer; None: too few have finished."""
    long_s: float = 0.0
    """LONG_SHARE of them took no longer."""
    fuel: float | None = None
    """Half of them burnt more; None: it is not counted."""
    cpu_s: float | None = None
    """Half of them took longer on a CPU; None: that is not known."""
    rest_s: float = 0.0
    """How long one waits for other things than a CPU."""
    speeds: dict[int, list[float]] | None = None
    """Fuel for each second on a CPU, of runs on each worker."""


class UsualTimes:
    """Tells how long running jobs will take."""

    def __init__(self, core: Core) -> None:
        self._database, self._clock = core.database, core.clock
        self._lock = Lock()
        self._known: dict[int, UsualRun] = {}
        self._found: tuple[int, list[Straggler]] | None = None

    def foresee(self, found: Iterable[Job]) -> dict[int, Outlook]:
        """Return what is to be expected of those of the jobs that run and of whose lambdas enough is known."""
        going = [
            OpenRun(job.id, job.lambda_id, job.worker_id, job.started_at)
            for job in found
            if job.state is JobState.RUNNING and job.worker_id is not None and job.started_at is not None
        ]
        if not going:
            return {}
        with self._database.read() as connection:
            return self._judge(connection, going, len(going))

    def find_usual(self, lambda_ids: Iterable[int]) -> dict[int, UsualRun]:
        """Return what is usual of lambdas, by their newest jobs; a few of them are learnt, the others known."""
        asked = list(lambda_ids)
        with self._database.read() as connection:
            self._refresh(connection, dict.fromkeys(asked, ID_MAX), LEARNT_MAX)
        with self._lock:
            return {id_: self._known[id_] for id_ in asked if id_ in self._known}

    def list_stragglers(self) -> list[Straggler]:
        """Return running jobs that straggle, the longest first; found at most ``FRESH_MS`` ago."""
        now, found = self._clock(), self._found
        if found is not None and abs(now - found[0]) < FRESH_MS:
            return found[1]
        with self._database.read() as connection:
            going = runs.find_open(connection, now - STRAGGLING_MS, OPEN_MAX)
            outlooks = self._judge(connection, going, LEARNT_MAX)
            late = [each for each in going if each.job_id in outlooks and outlooks[each.job_id].straggles]
            names = lambdas.find_names(connection, {each.lambda_id for each in late})
        listed = [
            Straggler(
                each.job_id,
                names.get(each.lambda_id) or str(each.lambda_id),
                (now - each.started_at) / 1000,
                outlooks[each.job_id].expected_s,
            )
            for each in late
        ]
        self._found = now, listed
        return listed

    def _judge(self, connection: Connection, going: Sequence[OpenRun], most: int) -> dict[int, Outlook]:
        """Return what is to be expected of runs; of lambdas that are not known, ``most`` are learnt."""
        now, first = self._clock(), dict[int, int]()
        for run in going:
            first[run.lambda_id] = min(first.get(run.lambda_id, run.job_id), run.job_id)
        self._refresh(connection, first, most)
        with self._lock:
            known = dict(self._known)
        outlooks = {}
        for run in going:
            usual = known.get(run.lambda_id)
            if usual is None or usual.wall_s is None:
                continue
            expected_s = _expect(usual, run.worker_id, known)
            ran_s = (now - run.started_at) / 1000
            late = ran_s > max(FACTOR * expected_s, STRAGGLING_MS / 1000, usual.long_s)
            outlooks[run.job_id] = Outlook(expected_s, run.started_at + round(expected_s * 1000), late)
        return outlooks

    def _refresh(self, connection: Connection, near: Mapping[int, int], most: int) -> None:
        """Learn what is usual of lambdas from the runs near a job of each, ``most`` of those that are stale."""
        now = self._clock()
        for id_ in self._list_stale(near, now)[:most]:
            self._note(id_, _learn(runs.find_finished(connection, id_, near[id_]), now))

    def _list_stale(self, ids: Iterable[int], now: int) -> list[int]:
        """Return the lambdas that are to be learnt, those first of which nothing is known, or for longest."""
        with self._lock:
            learnt = {id_: self._known[id_].learnt_at for id_ in ids if id_ in self._known}
        stale = [id_ for id_ in ids if id_ not in learnt or abs(now - learnt[id_]) >= FRESH_MS]
        return sorted(stale, key=lambda id_: learnt.get(id_, 0))

    def _note(self, lambda_id: int, usual: UsualRun) -> None:
        with self._lock:
            before = self._known.pop(lambda_id, None)
            if usual.wall_s is None and before is not None:  # those that ended are too far away now
                usual = replace(before, learnt_at=usual.learnt_at)
            self._known[lambda_id] = usual
            while len(self._known) > LAMBDAS_MAX:
                del self._known[next(iter(self._known))]


def _learn(finished: Sequence[FinishedRun], now: int) -> UsualRun:
    walls = sorted(each.usage.wall_s for each in finished if _is_time(each.usage.wall_s))
    if len(walls) < LEAST_RUNS:
        return UsualRun(now)
    fuels, rests = list[int](), list[float]()
    speeds: dict[int, list[float]] = {}
    for worker_id, usage in finished:
        if usage.fuel and _is_time(usage.wall_s) and _is_time(usage.cpu_s) and usage.cpu_s >= LEAST_CPU_S:
            fuels.append(usage.fuel)
            rests.append(max(0.0, usage.wall_s - usage.cpu_s))
            of_worker = speeds.setdefault(worker_id, [])
            if len(of_worker) < SPEEDS_MAX:
                of_worker.append(usage.fuel / usage.cpu_s)
    long_s = walls[min(int(LONG_SHARE * len(walls)), len(walls) - 1)]
    cpus = [each.usage.cpu_s for each in finished if _is_time(each.usage.cpu_s)]
    cpu_s = median(cpus) if len(cpus) >= LEAST_RUNS else None
    if len(fuels) < LEAST_RUNS:
        return UsualRun(now, median(walls), long_s, cpu_s=cpu_s)
    return UsualRun(now, median(walls), long_s, median(fuels), cpu_s, median(rests), speeds)


def _is_time(told: float | None) -> TypeGuard[float]:
    """Tell whether a worker told a time that can be."""
    return told is not None and 0 <= told <= LONGEST_S


def _expect(usual: UsualRun, worker_id: int, known: dict[int, UsualRun]) -> float:
    """Return how long a job takes on a worker, seconds: by its fuel where that and the worker's speed are known.

    The speed is that of the lambda's own runs there, else of other lambdas' runs.
    """
    assert usual.wall_s is not None
    if usual.fuel is None:
        return usual.wall_s
    speeds = (usual.speeds or {}).get(worker_id, [])
    if len(speeds) < LEAST_RUNS:
        speeds = list(chain.from_iterable((each.speeds or {}).get(worker_id, []) for each in known.values()))
    if len(speeds) < LEAST_RUNS:
        return usual.wall_s
    return usual.rest_s + usual.fuel / median(speeds)
