"""What the groups of calls share."""

import copy
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from piecework.client.carriers import Carrier
from piecework.client.transport import PreparedRequest, Query
from piecework.protocol.ids import Id
from piecework.protocol.keys import find_key_fault
from piecework.protocol.messages import (
    AuditList,
    DataList,
    DeliveryList,
    GroupList,
    JobList,
    KeyList,
    LambdaList,
    LimitList,
    MessageReply,
    ModuleList,
    NamespaceList,
    RecordedCallList,
    ScheduleList,
    SigningKeyList,
    TenantList,
    TickList,
    WebhookList,
    WorkerList,
)
from piecework.protocol.names import NAME_RULE, LambdaName, is_name

AnyId = int | str
"""An id as callers may write it: an ``Id``, a number, or its decimal string."""
AnyLambda = int | str
"""A lambda as callers may write it: its id, its name (then the newest of that name is meant), or ``name@id``."""

AnyTime = datetime | timedelta | str
"""A time as callers may write it: a moment, how long ago it was, or either of them as a text."""

Page = TypeVar(
    "Page",
    AuditList,
    DataList,
    DeliveryList,
    GroupList,
    JobList,
    KeyList,
    LambdaList,
    LimitList,
    ModuleList,
    NamespaceList,
    RecordedCallList,
    ScheduleList,
    SigningKeyList,
    TenantList,
    TickList,
    WebhookList,
    WorkerList,
)

PAGE_ITEMS = 500
"""How many items are asked for in one page of a list."""


class CallGroup:
    """A group of calls about one kind of thing; ``Client`` is all groups together."""

    carrier: Carrier

    def within(self, timeout_s: float | None) -> Self:
        """Return a client that shares the connections of this one, and that is of use for so many seconds.

        All its calls end by then, with ServerUnreachable if need be. None: for ever.
        """
        bounded = copy.copy(self)
        bounded.carrier = self.carrier.within(timeout_s)
        return bounded

    async def _steer(self, request: PreparedRequest) -> str:
        """Send a request that is answered in words, and return them."""
        return (await self.carrier.call(request, MessageReply)).message

    async def _items(
        self, path: str, query: Query, page: type[Page], field: str, limit: int | None
    ) -> AsyncIterator[Any]:
        """Go through a list page by page, at most ``limit`` items (None: all of them)."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            size = PAGE_ITEMS if left is None else min(left, PAGE_ITEMS)
            request = PreparedRequest("GET", path, {**query, "limit": size, "cursor": cursor}, repeatable=True)
            reply = await self.carrier.call(request, page)
            items = getattr(reply, field)[:size]
            for item in items:
                yield item
            if not reply.next:
                return
            cursor = reply.next
            left = None if left is None else left - len(items)


def path_name(value: str) -> str:
    """Return a name for use in a path. Raises ValueError when nothing can be called so."""
    if not is_name(value):
        raise ValueError(f"{value[:200]!r} is no name: {NAME_RULE}")
    return value


def path_key(value: str) -> str:
    """Return a key for use in a path. Raises ValueError when no value can have it."""
    if fault := find_key_fault(value):
        raise ValueError(fault)
    return value


def path_id(value: AnyId) -> Id:
    """Return an id for use in a path. Raises ValueError when it is not one."""
    return Id.parse(value)


def lambda_ref(value: AnyLambda) -> Id | str:
    """Return how a request names a lambda. Raises ValueError when nothing can be called so."""
    ref = LambdaName.parse(value)
    return ref if isinstance(ref, Id) else str(ref)


def write_time(at: AnyTime | None) -> str | None:
    """Return a time as requests have it."""
    if isinstance(at, timedelta):
        return str(at.total_seconds())
    return at.astimezone().isoformat() if isinstance(at, datetime) else at
