"""The feed of events: ``/events``, as a stream or page by page."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Annotated, TypeVar

import msgspec
from flask import Response, request
from msgspec import UNSET, Meta

from piecework.protocol.bodies import encode
from piecework.protocol.ids import Id
from piecework.protocol.messages import FeedEvent, FeedPage
from piecework.protocol.states import parse_state
from piecework.server.errors import FeedGone, InvalidParameter, ServerError
from piecework.server.services import Services
from piecework.server.services.queue.reading.feed import Interest
from piecework.server.services.queue.waiting.pauses import Waiter
from piecework.server.store.queue.figures.feed import JobChange
from piecework.server.web.endpoint import Query, endpoint, message_response

T = TypeVar("T")
STREAM = "text/event-stream"
HEARTBEAT_S = 15.0
"""A stream says something at least so often: proxies give up connections that are silent for a minute."""
STREAM_PAGE = 500
"""Events that a stream reads at once."""
LISTED_MAX = 200
"""Jobs, or groups, that one reader may name."""


class EventQuery(Query, kw_only=True, forbid_unknown_fields=True):
    """Which events to read. Unknown parameters are refused: a filter must not be lost by its spelling."""

    after: int | None = None
    """Only what follows this number. Without it a stream begins now, a page with the oldest that is kept."""
    job: str | None = None
    """Only of these jobs: ids with commas between them."""
    group: str | None = None
    """Only of jobs of these groups: ids or names with commas between them."""
    lambda_: str | None = msgspec.field(default=None, name="lambda")
    """Only of jobs of this lambda, by its id or as ``name@id``, or of all lambdas of a name."""
    state: str | None = None
    """Only jobs that come into these states: names with commas between them."""
    limit: int = 100
    """Events of a page at most."""
    timeout: Annotated[float, Meta(ge=0)] = 0.0
    """Hold the answer until there is something, for that many seconds at most. Not for streams."""


@endpoint("GET", "/events", scope="view", query=EventQuery, reply=FeedPage)
def list_events(services: Services, query: EventQuery) -> Response:
    """Tell what happened to jobs, oldest first: with `Accept: text/event-stream` as a stream, else a page."""
    which = _read_interest(services, query)
    if not 1 <= query.limit <= services.settings.page_max:
        raise InvalidParameter(f"limit is {query.limit}, but must lie between 1 and {services.settings.page_max}")
    if STREAM in request.headers.get("Accept", "").lower():
        return _open_stream(services, _read_place(query), which)
    services.feed.number()
    after = services.feed.bounds()[0] - 1 if query.after is None else services.feed.check(query.after)
    page = services.feed.wait_page(after, which, query.limit, query.timeout)
    oldest, newest = services.feed.bounds()
    events = _tell(services, page.changes)
    return message_response(FeedPage(events=events, next=page.upto, oldest=oldest, newest=newest))


def _read_interest(services: Services, query: EventQuery) -> Interest:
    return Interest(
        frozenset(_read_list("job", query.job, Id.parse)),
        frozenset(_read_list("group", query.group, lambda ref: services.groups.find(ref).id)),
        frozenset(_read_list("state", query.state, parse_state)),
        None if query.lambda_ is None else services.lambdas.select(query.lambda_),
    )


def _read_list(name: str, text: str | None, read: Callable[[str], T]) -> list[T]:
    parts = [part for part in (text or "").split(",") if part]
    if len(parts) > LISTED_MAX:
        raise InvalidParameter(f"{name} names {len(parts)}; at most {LISTED_MAX} are taken")
    try:
        return [read(part) for part in parts]
    except ValueError as error:
        raise InvalidParameter(f"{name} is wrong: {error}") from error


def _read_place(query: EventQuery) -> int | None:
    """Return the number after which a stream begins: what it got last counts for more than its URL."""
    text = request.headers.get("Last-Event-ID", "").strip()
    if not text:
        return query.after
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise InvalidParameter(f"Last-Event-ID is {text[:40]!r}, but events here have numbers")
    return int(text)


def _tell(services: Services, changes: Sequence[JobChange]) -> list[FeedEvent]:
    names = services.feed.name_lambdas(changes) if changes else {}
    return [
        FeedEvent(
            number=each.number,
            at=each.at / 1000,
            job=Id(each.job_id),
            state=each.state,
            lambda_=Id(each.lambda_id) if each.lambda_id else UNSET,
            lambda_name=names.get(each.lambda_id) or UNSET,
            group=Id(each.group_id) if each.group_id else UNSET,
            detail=each.detail,
        )
        for each in changes
    ]


def _open_stream(services: Services, after: int | None, which: Interest) -> Response:
    services.feed.number()
    after = services.feed.bounds()[1] if after is None else services.feed.check(after)
    stream = _Stream(services, after, which)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return Response(stream, content_type=STREAM, headers=headers)


class _Stream:
    """The body of a stream: it ends when the server stops, its caller leaves, or another needs its place.

    Then the reader comes again, with the number that it got last.
    """

    def __init__(self, services: Services, after: int, which: Interest) -> None:
        """Raises CapacityReached or Stopping."""
        self._places = ExitStack()
        waiter = self._places.enter_context(services.feed.listeners.listen())
        self._pieces = _write_stream(services, waiter, after, which)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        """Give the place up, also when nothing was read."""
        self._places.close()


def _write_stream(services: Services, waiter: Waiter, after: int, which: Interest) -> Iterator[bytes]:
    yield f"retry: 2000\nid: {after}\n\n".encode()
    while not waiter.dismissed:
        try:
            page = services.feed.next_page(waiter, after, which, STREAM_PAGE, HEARTBEAT_S)
        except FeedGone as error:
            yield f"event: gone\ndata: {error}\n\n".encode()
            return
        except ServerError:
            return  # the database is away, say: the reader comes again
        after = page.upto
        yield b"".join(map(_write_event, _tell(services, page.changes))) or f"id: {after}\n: alive\n\n".encode()


def _write_event(event: FeedEvent) -> bytes:
    return b"id: %d\nevent: job\ndata: %b\n\n" % (event.number, encode(event))
