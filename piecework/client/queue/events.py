"""The client's calls about the feed: what happens to jobs, as it happens."""

from collections.abc import AsyncIterator, Iterable
from typing import TypedDict, Unpack

from piecework.client.calls import AnyId, AnyLambda, CallGroup, lambda_ref, path_id
from piecework.client.modes import call, iteration
from piecework.client.transport import PreparedRequest, Query
from piecework.protocol.messages import FeedEvent, FeedPage
from piecework.protocol.states import JobState

EVENTS_PER_PAGE = 500
POLL_S = 20.0
"""How long one request asks the server to wait for something."""


class EventOptions(TypedDict, total=False):
    """Which events are meant; without one of these, all."""

    after: int | None
    jobs: Iterable[AnyId]
    groups: Iterable[AnyId]
    lambda_: AnyLambda | None
    states: Iterable[JobState | str]
    follow: bool


class EventCalls(CallGroup):
    """The feed of events: each job that comes into a state, with a number."""

    @iteration
    def events(self, **which: Unpack[EventOptions]) -> AsyncIterator[FeedEvent]:
        """Go through what happens to jobs, for ever, oldest first; without ``follow`` through what has happened.

        ``after`` is the number of the event that was read last: none comes twice, and none is left out. None:
        what happens after this call, or with an event loop after the first step. 0: from the first on, which may
        not be kept any more. Only jobs that fit all that is given. A broken connection is made anew, as for other
        calls; after ServerUnreachable go on with the number of the last event. Raises Gone when what follows
        ``after`` is not kept any more, Invalid for one that is from another server, NotFound for a lambda that is
        not there.
        """
        lambda_, after, follow = which.get("lambda_"), which.get("after"), which.get("follow", True)
        query: Query = {
            "job": _join(path_id(each) for each in which.get("jobs", ())),
            "group": _join(which.get("groups", ())),
            "lambda": None if lambda_ is None else lambda_ref(lambda_),
            "state": _join(which.get("states", ())),
            "limit": EVENTS_PER_PAGE,
            "timeout": POLL_S if follow else None,
        }
        return self._follow(after, query, follow=follow)

    async def _follow(self, after: int | None, query: Query, *, follow: bool) -> AsyncIterator[FeedEvent]:
        if after is None:
            after = await self.newest_event()
        while True:
            page = await self._read_page({**query, "after": after}, POLL_S if follow else 0.0)
            for event in page.events:
                yield event
            if not follow and page.next >= page.newest:
                return
            after = page.next

    @call
    async def newest_event(self) -> int:
        """Return the number of the event that happened last; 0 when there was none."""
        return (await self._read_page({"limit": 1})).newest

    @call
    async def oldest_event(self) -> int:
        """Return the smallest number that is kept; what there was before is Gone."""
        return (await self._read_page({"limit": 1})).oldest

    async def _read_page(self, query: Query, poll_s: float = 0.0) -> FeedPage:
        request = PreparedRequest("GET", "/events", query, repeatable=True, poll_s=poll_s)
        return await self.carrier.call(request, FeedPage)


def _join(parts: Iterable[object]) -> str | None:
    return ",".join(map(str, parts)) or None
