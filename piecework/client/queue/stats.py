"""The client's calls about figures of jobs."""

from piecework.client.calls import AnyLambda, CallGroup, lambda_ref
from piecework.client.modes import call
from piecework.client.transport import PreparedRequest, Query
from piecework.protocol.messages import ScaleReply, StatsPeriod, StatsReply


class StatsCalls(CallGroup):
    """Figures of jobs: how many did what in a time, and how long they waited and ran."""

    @call
    async def stats(
        self, period: StatsPeriod = "hour", *, lambda_: AnyLambda | None = None, lambdas: int = 20
    ) -> StatsReply:
        """Return what jobs did in the last hour, day, week or month: all, or those of a lambda.

        Tells of ``lambdas`` lambdas one by one, the busiest; 200 at most. Raises NotFound for a lambda that is
        not there.
        """
        which = None if lambda_ is None else lambda_ref(lambda_)
        request = PreparedRequest(
            "GET", "/stats", {"period": period, "lambda": which, "lambdas": lambdas}, repeatable=True
        )
        return await self.carrier.call(request, StatsReply)

    @call
    async def wanted_slots(
        self,
        *,
        lambda_: AnyLambda | None = None,
        runtime: str | None = None,
        tenant: str | None = None,
        within_s: float | None = None,
    ) -> ScaleReply:
        """Return how many jobs are ready and running, how many slots there are, and how many could be of use.

        Of all jobs, or those of a lambda, for a runtime, of a tenant. ``within_s``: in how many seconds they are
        to be done. Raises NotFound for a lambda that is not there, and Invalid for a runtime that nobody knows.
        """
        which = None if lambda_ is None else lambda_ref(lambda_)
        query: Query = {"lambda": which, "runtime": runtime, "tenant": tenant, "within_s": within_s}
        return await self.carrier.call(PreparedRequest("GET", "/scale", query, repeatable=True), ScaleReply)
