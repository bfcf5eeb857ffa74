"""What jobs usually cost: the fuel that others of their lambda burnt.

A claim asks for it while it writes, so it only looks up what a chore has learnt. Of a lambda whose fuel is not
counted, the time on a CPU stands for it, at the speed of those that are counted.
"""

from statistics import median
from threading import Lock

from piecework.server.services.queue.leasing.pace import UsualRun, UsualTimes

FUEL_PER_S = 1e10
"""What a worker burns in a second on a CPU, where no lambda tells."""
LEAST = FUEL_PER_S / 1000
"""A job costs this at least: whoever runs it has other work with it, too."""
ASKED_MAX = 200
"""Lambdas that are learnt, those that were asked for last."""


class JobCosts:
    """Tells what a job of a lambda usually costs, in units of fuel."""

    def __init__(self, pace: UsualTimes) -> None:
        self._pace = pace
        self._lock = Lock()
        self._asked: dict[int, None] = {}
        """Lambdas whose jobs were given out lately, the latest last."""
        self._known: dict[int, float] = {}
        self._typical = LEAST

    def find(self, lambda_id: int) -> float:
        """Return what a job of a lambda costs; of one that nobody has learnt yet, what others do."""
        with self._lock:
            self._asked.pop(lambda_id, None)
            self._asked[lambda_id] = None
            while len(self._asked) > ASKED_MAX:
                del self._asked[next(iter(self._asked))]
        return self._known.get(lambda_id, self._typical)

    def learn(self) -> None:
        """Learn what jobs cost of the lambdas that were asked for lately."""
        with self._lock:
            asked = list(self._asked)
        usual = self._pace.find_usual(asked) if asked else {}
        speeds = [speed for each in usual.values() for some in (each.speeds or {}).values() for speed in some]
        per_s = median(speeds) if speeds else FUEL_PER_S
        self._known = {id_: _sum_up(each, per_s) for id_, each in usual.items() if each.wall_s is not None}
        self._typical = median(self._known.values()) if self._known else LEAST


def _sum_up(usual: UsualRun, per_s: float) -> float:
    if usual.fuel is not None:
        return max(LEAST, usual.fuel)
    busy_s = usual.wall_s if usual.cpu_s is None else usual.cpu_s
    return max(LEAST, (busy_s or 0.0) * per_s)
