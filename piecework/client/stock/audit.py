"""The client's call about who did what."""

from collections.abc import AsyncIterator

from piecework.client.calls import AnyTime, CallGroup, write_time
from piecework.client.modes import iteration
from piecework.protocol.messages import AuditEntry, AuditList


class AuditCalls(CallGroup):
    """The audit: who did what, when."""

    @iteration
    def audit(
        self,
        limit: int | None = None,
        *,
        who: str | None = None,
        act: str | None = None,
        target: str | None = None,
        since: AnyTime | None = None,
        before: AnyTime | None = None,
    ) -> AsyncIterator[AuditEntry]:
        """Go through what people and programs did, newest first; at most ``limit`` of it.

        Only of the token ``who``, only acts that begin with ``act``, only those done to ``target``, only from
        ``since`` on and before ``before``. It takes a token of scope ``operate``.
        """
        query = {
            "who": who,
            "act": act,
            "target": target,
            "since": write_time(since),
            "before": write_time(before),
        }
        return self._items("/audit", query, AuditList, "entries", limit)
