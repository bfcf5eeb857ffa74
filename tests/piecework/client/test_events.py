"""The feed as a client reads it: everything once, whatever happens to the connection."""

from itertools import islice

import pytest

from piecework.client import Client, Gone, Invalid, NotFound, ServerUnreachable
from piecework.protocol.ids import Id
from piecework.protocol.messages import ErrorReply, FeedEvent, FeedPage
from piecework.protocol.states import JobState


@pytest.fixture
def lambda_id(client):
    return client.create_lambda(0, "nobody-runs-this")


def page(*numbers, newest=9, next_=None):
    events = [FeedEvent(number=each, at=1.0, job=Id(5), state=JobState.RUNNING) for each in numbers]
    return FeedPage(events=events, next=next_ or max(numbers, default=0), oldest=1, newest=newest)


def give(script, *pages):
    """Have pages answered in order; None: the connection breaks."""
    for each in pages:
        script.answer(each, hang_up=each is None)


def test_what_happens_is_read_as_it_happens(client, lambda_id):
    events = client.events(lambda_=lambda_id)
    job = client.submit(lambda_id)
    client.cancel(job)
    told = list(islice(events, 2))
    assert [(each.job, each.state) for each in told] == [(job, "Enqueued"), (job, "Cancelled")]
    assert told[0].number < told[1].number
    assert told[0].lambda_ == lambda_id


def test_what_has_happened_is_read_to_its_end(client, lambda_id):
    before = client.newest_event()
    jobs = client.submit_many(lambda_id, [b"x"] * 3)
    client.cancel(jobs[1])
    told = client.events(after=before, jobs=jobs[1:], states=["Cancelled", JobState.ENQUEUED], follow=False)
    assert [(each.job, each.state) for each in told] == [
        (jobs[1], "Enqueued"), (jobs[2], "Enqueued"), (jobs[1], "Cancelled"),
    ]  # fmt: skip
    assert client.oldest_event() == 1


def test_what_cannot_be_read_is_refused(client):
    with pytest.raises(Invalid, match="the feed has got to"):
        next(client.events(after=10**9))
    with pytest.raises(NotFound, match="no lambda named 'nothing'"):
        next(client.events(lambda_="nothing"))
    with pytest.raises(ValueError, match="id"):
        client.events(jobs=["x"])


def test_a_broken_connection_repeats_nothing_and_leaves_nothing_out(script):
    give(script, page(1, 2), None, page(3), page(4, 5))
    with Client(script.url) as client:
        assert [each.number for each in islice(client.events(after=0), 5)] == [1, 2, 3, 4, 5]
    asked = [each.path.partition("after=")[2] for each in script.seen]
    assert asked == ["0", "2", "2", "3"]


def test_a_page_without_events_still_moves_on(script):
    give(script, page(next_=700), page(701))
    with Client(script.url) as client:
        assert next(client.events(after=0)).number == 701
    assert script.seen[1].path.endswith("after=700")


def test_what_is_not_kept_any_more_is_gone(script):
    script.answer(ErrorReply(code=931, message="the oldest has number 8"), status=410)
    with Client(script.url) as client, pytest.raises(Gone, match="number 8") as gone:
        next(client.events(after=3))
    assert gone.value.code == 931


def test_a_reader_goes_on_by_itself_from_the_number_that_it_had(script):
    give(script, page(1, 2), None, page(3))
    with Client(script.url, attempts=1) as client:
        events = client.events(after=0)
        assert [next(events).number, next(events).number] == [1, 2]
        with pytest.raises(ServerUnreachable):
            next(events)
        assert next(client.events(after=2)).number == 3
