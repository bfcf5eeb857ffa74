"""The client's call about figures of jobs over a time."""

from piecework.client.calls import AnyLambda, CallGroup, lambda_ref
from piecework.client.modes import call
from piecework.client.transport import PreparedRequest
from piecework.protocol.messages import StatsPeriod, StatsReply


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
