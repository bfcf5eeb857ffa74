"""What a token's quota says to a submission: it is asked inside the transaction that stores the jobs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import UNSET

from piecework.protocol.messages import JobSpec
from piecework.server.errors import Forbidden, InvalidRequest, JobNotFound, QuotaReached
from piecework.server.services.queue.dependencies.parents import Need
from piecework.server.store.engine.database import Connection
from piecework.server.store.records import Lambda
from piecework.server.store.stock import quotas
from piecework.server.store.stock.quotas import Quota
from piecework.server.store.stock.tokens import Token


@dataclass(frozen=True, slots=True)
class Allowed:
    """The quota of the token that jobs are submitted with."""

    name: str
    """Of the token."""
    quota: Quota

    def check_lambdas(self, wanted: Iterable[Lambda]) -> None:
        """Raise Forbidden, which says what the token may use, when a lambda is none of that."""
        for each in wanted:
            if not self.quota.allows(str(each.id), each.name or ""):
                raise Forbidden(refuse(self.name, self.quota, f"lambda {each.name or each.id}"))

    def check_specs(self, specs: Sequence[JobSpec], needs: Iterable[Need]) -> frozenset[int]:
        """Return the jobs whose results some others ask for, which are to be the token's own.

        Raises Forbidden for what would change, or read, what others submitted.
        """
        if not self.quota.lambdas:
            return frozenset()
        if any(spec.group not in {UNSET, None} for spec in specs):
            raise Forbidden(f"the token {self.name} is for some lambdas: its jobs cannot join a group")
        named = [need.ref for need in needs if not need.ref.startswith("@")]
        if words := [ref for ref in named if not ref.isdecimal()]:
            raise Forbidden(
                f"the token {self.name} is for some lambdas: its jobs wait for jobs of its own, not {words[0]!r}"
            )
        return frozenset(map(int, named))

    def charge(self, connection: Connection, count: int, parents: Iterable[int], now: int) -> None:
        """Have so many new jobs count. Only one transaction of a token does so at a time.

        Raises QuotaReached, with the time after which the rate allows as many; InvalidRequest when it never does;
        JobNotFound when a parent is none of the token's jobs.
        """
        if parents and (foreign := quotas.find_foreign(connection, self.name, parents)) is not None:
            raise JobNotFound(f"there is no job {foreign}")  # as for one that is not there
        if count and self.quota.is_counted:
            full_at_us = quotas.lock_use(connection, self.name)
            self._check_unfinished(connection, count)
            self._take_rate(connection, count, full_at_us, now)

    def note(self, connection: Connection, ids: Iterable[int]) -> None:
        """Have jobs that were stored count until they are finished."""
        if self.quota.queued_max is not None:
            quotas.mark_counted(connection, ids)

    def _check_unfinished(self, connection: Connection, count: int) -> None:
        most = self.quota.queued_max
        if most is None:
            return
        if count > most:
            raise InvalidRequest(f"{count} jobs at once: the token {self.name} may have {most} unfinished")
        there = quotas.count_unfinished(connection, self.name, most)
        if there + count > most:
            raise QuotaReached(
                f"the token {self.name} has {there} unfinished jobs and may have {most}: {count} more are too many"
            )

    def _take_rate(self, connection: Connection, count: int, full_at_us: int, now: int) -> None:
        rate, period_us = self.quota.rate, 1000 * self.quota.period_ms
        if rate is None:
            return
        per = f"{rate} jobs in {self.quota.period_ms / 1000:g} s"
        if count > rate:
            raise InvalidRequest(f"{count} jobs at once: the token {self.name} may submit {per}")
        now_us = 1000 * now
        # What a clock that went back, or a higher rate, left behind is no more than one period.
        full_us = min(max(full_at_us, now_us), now_us + period_us) + -(-count * period_us // rate)
        if (early_us := full_us - period_us - now_us) > 0:
            raise QuotaReached(f"the token {self.name} may submit {per}: wait", -(-early_us // 1_000_000))
        quotas.set_full_at(connection, self.name, full_us)


def find_allowed(token: Token | None) -> Allowed | None:
    """Return what a token's quota allows; None when it has none, or there is no token."""
    return None if token is None or token.quota is None else Allowed(token.name, token.quota)


def refuse(name: str, quota: Quota, wanted: str) -> str:
    """Return what is said to a token that may not use something."""
    return f"the token {name} may use {', '.join(quota.lambdas)}, not {wanted[:200]}"
