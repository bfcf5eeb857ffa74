"""Deleting a lambda, once no job waits for it."""

from functools import partial

from piecework.protocol.ids import Id
from piecework.server.errors import LambdaInUse, LambdaNotFound
from piecework.server.services.core import Core
from piecework.server.services.queue.changing.bulk import Bulk, BulkOrder
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.records import Lambda
from piecework.server.store.stock import lambdas

COUNTED_MAX = 100_000


class Deletion:
    """Deletes lambdas."""

    def __init__(self, core: Core, known: Lambdas, bulk: Bulk) -> None:
        self._database, self._clock = core.database, core.clock
        self._lambdas = known
        self._bulk = bulk

    def delete(self, lambda_: Lambda, *, cancel: bool, who: str | None) -> int:
        """Delete a lambda: nothing is submitted for it any more. Returns how many of its jobs were cancelled.

        Its jobs that ended keep it until they go. Raises LambdaNotFound when somebody was quicker, and LambdaInUse
        when a revision of a function is made of it, or while jobs of it have not ended, unless they are to be
        cancelled.
        """
        cancelled = self._cancel(lambda_, who) if cancel else 0
        self._database.write(partial(self._mark, lambda_=lambda_))
        self._lambdas.forget(lambda_.id)
        return cancelled

    def _cancel(self, lambda_: Lambda, who: str | None) -> int:
        cancelled, cursor, has_more = 0, None, True
        while has_more:
            come = self._bulk.work_on(
                BulkOrder("cancel", who=who), JobFilter(lambda_=lambda_.id), cursor, dry_run=False
            )
            cancelled += len(come.done.changed)
            cursor, has_more = come.next, come.next is not None
        return cancelled

    def _mark(self, connection: Connection, lambda_: Lambda) -> None:
        if revision := lambdas.find_revision(connection, lambda_.id):
            raise LambdaInUse(
                f"the function {'/'.join(revision)} is made of lambda {Id(lambda_.id)}: undeploy it first"
            )
        waiting = jobs.count_jobs(connection, JobFilter(lambda_=lambda_.id, ended=False), COUNTED_MAX)
        if waiting:
            many = f"{waiting} jobs of it have" if waiting > 1 else "1 job of it has"
            raise LambdaInUse(
                f"lambda {Id(lambda_.id)} is in use: {many} not ended; delete it with `cancel` to end them"
            )
        if not lambdas.mark_deleted(connection, lambda_.id, self._clock()):
            raise LambdaNotFound(f"there is no lambda {Id(lambda_.id)}")
