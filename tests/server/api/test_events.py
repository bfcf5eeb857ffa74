"""``/events``: pages and streams of what happened to jobs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import msgspec
import pytest
from house import House, finished
from patience import PATIENCE_S, until
from werkzeug.test import TestResponse

STREAM = {"Accept": "text/event-stream"}


def submit(house: House, count: int = 1) -> list[str]:
    lambda_id = house.new_lambda()
    return [house.submit(lambda_id) for _ in range(count)]


def open_stream(house: House, query: str = "", **headers: str) -> TestResponse:
    response = house.client.get(f"/events{query}", headers=STREAM | headers)
    assert response.status_code == 200, response.data
    assert response.mimetype == "text/event-stream"
    return response


def pieces(response: TestResponse) -> Iterator[dict[str, str]]:
    """Yield the fields of each event of a stream, comments left out."""
    for piece in response.response:
        for block in piece.decode().strip().split("\n\n"):
            lines = [line for line in block.split("\n") if not line.startswith(":")]
            yield dict(line.split(": ", 1) for line in lines)


def test_a_page_has_what_happened_and_where_to_go_on(house: House):
    lambda_id = house.new_lambda(name="upper")
    job = house.submit(lambda_id)
    worker = house.new_worker()
    house.finish(worker, finished(house.lease(worker)))
    page = house.call("GET", "/events")
    assert [(each["number"], each["job"], each["state"]) for each in page["events"]] == [
        (1, job, "Enqueued"), (2, job, "Running"), (3, job, "Finished"),
    ]  # fmt: skip
    assert page["events"][0] | {"number": 0} == {
        "number": 0, "at": house.clock() / 1000, "job": job, "state": "Enqueued", "lambda": lambda_id,
        "lambda_name": "upper", "detail": "",
    }  # fmt: skip
    assert (page["next"], page["oldest"], page["newest"]) == (3, 1, 3)
    assert house.call("GET", "/events?after=3")["events"] == []


def test_pages_can_be_filtered(house: House):
    first, second = submit(house, 2)
    house.call("DELETE", f"/job/{second}")
    assert [each["number"] for each in house.call("GET", f"/events?job={second}")["events"]] == [2, 3]
    assert [each["number"] for each in house.call("GET", "/events?state=Cancelled,finished")["events"]] == [3]
    assert house.call("GET", f"/events?job={first},{second}&limit=2")["next"] == 2
    house.call("POST", "/group", {"name": "batch"})
    member = house.submit(house.new_lambda(), group="batch")
    told = house.call("GET", "/events?group=batch")["events"]
    assert [(each["job"], each["state"]) for each in told] == [(member, "Enqueued")]
    assert house.call("GET", f"/events?group={told[0]['group']}")["events"] == told
    house.call("GET", "/events?group=7", status=404)


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("?after=1", 400, "the feed has got to 0"),
        ("?after=x", 400, "after"),
        ("?jobs=7", 400, "unknown field `jobs`"),
        ("?job=x", 400, "job is wrong"),
        ("?state=Nope", 400, "state is wrong"),
        ("?lambda=nobody", 404, "there is no lambda named 'nobody'"),
        ("?limit=0", 400, "limit is 0"),
        ("?timeout=-1", 400, "timeout"),
        ("?timeout=nan", 400, "timeout"),
        ("?job=" + ",".join(map(str, range(1, 203))), 400, "at most 200"),
    ],
)
@pytest.mark.parametrize("headers", [{}, STREAM])
def test_what_cannot_be_read_is_refused(
    house: House, query: str, status: int, message: str, headers: dict[str, str]
):
    answer = house.call("GET", f"/events{query}", status=status, headers=headers)
    assert message in answer["message"]


def test_a_page_that_is_not_kept_any_more_is_gone(house: House):
    submit(house, 3)
    house.call("GET", "/events")
    house.clock.forward(8 * 86_400)
    house.services.feed.forget()
    answer = house.call("GET", "/events?after=1", status=410)
    assert answer["code"] == 931
    assert "the oldest that there is has number 4" in answer["message"]
    house.call("GET", "/events?after=0", status=410, headers=STREAM)
    assert house.call("GET", "/events")["next"] == 3


def test_a_stream_begins_now(house: House):
    submit(house)
    stream = open_stream(house)
    events = pieces(stream)
    assert next(events) == {"retry": "2000", "id": "1"}
    [job] = submit(house)
    told = next(events)
    assert (told["id"], told["event"]) == ("2", "job")
    assert msgspec.json.decode(told["data"])["job"] == job
    stream.close()


def test_a_stream_goes_on_from_what_its_reader_got_last(house: House):
    submit(house, 3)
    stream = open_stream(house, "?after=0", **{"Last-Event-ID": "2"})
    assert [each["id"] for each in islice(pieces(stream), 2)] == ["2", "3"]
    stream.close()
    stream = open_stream(house, "?after=0")
    assert [each["id"] for each in islice(pieces(stream), 4)] == ["0", "1", "2", "3"]
    stream.close()


@pytest.mark.parametrize(("text", "message"), [("99", "the feed has got to 0"), ("x", "events here have numbers")])
def test_a_last_event_id_that_cannot_be_is_refused(house: House, text: str, message: str):
    answer = house.call("GET", "/events", status=400, headers=STREAM | {"Last-Event-ID": text})
    assert message in answer["message"]


def test_a_stream_says_that_it_is_alive_and_how_far_it_looked(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("piecework.server.api.queue.feed.HEARTBEAT_S", 0.05)
    stream = open_stream(house, "?after=0&state=Cancelled")
    events = pieces(stream)
    assert next(events)["id"] == "0"
    submit(house, 2)
    until(lambda: next(events) == {"id": "2"})
    stream.close()


def test_a_stream_holds_a_place_until_it_is_closed(house: House):
    listeners = house.services.feed.listeners
    stream = open_stream(house)
    assert len(listeners) == 1
    stream.close()
    assert len(listeners) == 0


def test_a_stream_needs_a_place(house: House):
    house.settings["listeners_max"] = 1
    house.restart()
    stream = open_stream(house)
    answer = house.call("GET", "/events", status=429, headers=STREAM)
    assert "1 requests wait already" in answer["message"]
    stream.close()


def test_a_stream_ends_when_the_server_stops(house: House):
    stream = open_stream(house)
    events = pieces(stream)
    next(events)
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(list, events)
        house.services.release_waiters()
        assert all("event" not in each for each in rest.result(PATIENCE_S))
    house.call("GET", "/events", status=503, headers=STREAM)
