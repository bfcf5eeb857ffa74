"""The client's calls about the feed: what happens to jobs, as it happens."""

from collections.abc import Iterable, Iterator

from piecework.client.calls import AnyId, AnyLambda, CallGroup, lambda_ref, path_id
from piecework.client.transport import PreparedRequest, Query
from piecework.protocol.messages import FeedEvent, FeedPage
from piecework.protocol.states import JobState

EVENTS_PER_PAGE = 500
POLL_S = 20.0
"""How long one request asks the server to wait for something."""


class EventCalls(CallGroup):
    """The feed of events: each job that comes into a state, with a number."""

    def events(
        self,
        *,
        after: int | None = None,
        jobs: Iterable[AnyId] = (),
        groups: Iterable[AnyId] = (),
        lambda_: AnyLambda | None = None,
        states: Iterable[JobState | str] = (),
        follow: bool = True,
    ) -> Iterator[FeedEvent]:
        """Go through what happens to jobs, for ever, oldest first; without ``follow`` through what has happened.

        ``after`` is the number of the event that was read last: none comes twice, and none is left out. None:
        what happens after this call. 0: from the first on, which may not be kept any more. Only jobs that fit all
        that is given. A broken connection is made anew, as for other calls; after ServerUnreachable go on with
        the number of the last event. Raises Gone when what follows ``after`` is not kept any more, Invalid for
        one that is from another server, NotFound for a lambda that is not there.
        """
        which: Query = {
            "job": _join(path_id(each) for each in jobs),
            "group": _join(groups),
            "lambda": None if lambda_ is None else lambda_ref(lambda_),
            "state": _join(states),
        }
        return self._follow(self.newest_event() if after is None else after, which, follow=follow)

    def newest_event(self) -> int:
        """Return the number of the event that happened last; 0 when there was none."""
        return self._read_page({"limit": 1}).newest

    def oldest_event(self) -> int:
        """Return the smallest number that is kept; what there was before is Gone."""
        return self._read_page({"limit": 1}).oldest

    def _follow(self, after: int, which: Query, *, follow: bool) -> Iterator[FeedEvent]:
        query = {**which, "limit": EVENTS_PER_PAGE, "timeout": POLL_S if follow else None}
        while True:
            page = self._read_page({**query, "after": after}, POLL_S if follow else 0.0)
            yield from page.events
            if not follow and page.next >= page.newest:
                return
            after = page.next

    def _read_page(self, query: Query, poll_s: float = 0.0) -> FeedPage:
        request = PreparedRequest("GET", "/events", query, repeatable=True, poll_s=poll_s)
        return self.transport.call(request, FeedPage)


def _join(parts: Iterable[object]) -> str | None:
    return ",".join(map(str, parts)) or None
