"""Failed jobs that wait for somebody to look at them: nothing else is a dead letter here."""

from dataclasses import replace
from typing import NamedTuple

from piecework.protocol.states import JobState
from piecework.server.errors import InvalidRequest
from piecework.server.services.core import Core
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.store.queue.jobs import failures, searches
from piecework.server.store.queue.jobs.failures import Failures
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.records import Lambda


class FailureReason(NamedTuple):
    """Failed jobs that failed alike, and their lambda."""

    failures: Failures
    lambda_: Lambda


class FailureCounts:
    """Counts failed jobs by lambda and reason."""

    def __init__(self, core: Core, lambdas: Lambdas) -> None:
        self._database = core.database
        self._lambdas = lambdas

    def count(self, which: JobFilter, most: int) -> tuple[list[FailureReason], int]:
        """Return reasons of jobs that fit, failed and were not run again, and how many such jobs there are.

        Raises InvalidRequest for a filter of jobs in another state.
        """
        which = _narrow(which)
        with self._database.read() as connection:
            found = failures.count_failures(connection, which, most)
            total = failures.count_all(connection, which)
        return self._name(found), total

    def count_newest(self, which: JobFilter, most: int) -> tuple[list[FailureReason], bool]:
        """Do so of the jobs that failed last, however many there are; and tell whether these were all.

        Raises InvalidRequest like ``count``.
        """
        which = _narrow(which)
        with self._database.read() as connection:
            ids, is_all = searches.find_candidates(connection, which)
            found = failures.count_failures(connection, which, most, ids)
        return self._name(found), is_all

    def _name(self, found: list[Failures]) -> list[FailureReason]:
        known = self._lambdas.get_many({each.lambda_id for each in found})
        return [FailureReason(each, known[each.lambda_id]) for each in found]


def _narrow(which: JobFilter) -> JobFilter:
    if set(which.states) - {JobState.FAILED}:
        raise InvalidRequest("failures are of failed jobs: leave out the state")
    return replace(which, states=(JobState.FAILED,), run_again=False)
