"""Failed jobs that nobody ran again, counted by lambda and reason."""

from typing import Any

import pytest
from house import House, failed

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError
from piecework.server.store.engine.statements import to_json
from piecework.server.store.queue.jobs.failures import TOLD_APART, _read_reason


def fail(house: House, lambda_id: str, kind: str, message: str, count: int = 1) -> list[str]:
    worker, jobs = house.new_worker(), []
    for _ in range(count):
        jobs.append(house.submit(lambda_id, max_attempts=1))
        house.finish(worker, failed(house.lease(worker), kind, message))
    return jobs


def listed(house: House, query: str = "") -> list[tuple[Any, ...]]:
    reply = house.call("GET", f"/job/failures?{query}")
    assert reply["total"] >= sum(each["count"] for each in reply["failures"])
    return [(each["lambda"], each["kind"], each["message"], each["count"]) for each in reply["failures"]]


def test_failures_are_counted_by_lambda_and_reason(house: House):
    upper, other = house.new_lambda(name="upper"), house.new_lambda()
    fail(house, upper, "timeout", "took longer than 300 s", 2)
    house.clock.forward(60)
    *_, newest = fail(house, upper, "trap", "unreachable in f\nat offset 7", 2)
    fail(house, upper, "trap", "unreachable in f\nat offset 9")
    fail(house, other, "trap", "unreachable in f")
    house.submit(upper)
    assert listed(house) == [
        (upper, "trap", "unreachable in f", 3),
        (upper, "timeout", "took longer than 300 s", 2),
        (other, "trap", "unreachable in f", 1),
    ]
    first = house.call("GET", "/job/failures")["failures"][0]
    assert (first["lambda_name"], int(first["job"]) > int(newest)) == ("upper", True)
    assert first["first_at"] == first["last_at"] == house.clock() / 1000
    assert listed(house, "limit=1") == [(upper, "trap", "unreachable in f", 3)]
    assert house.call("GET", "/job/failures?limit=1")["total"] == 6
    assert listed(house, "lambda=upper&since=30s") == [(upper, "trap", "unreachable in f", 3)]
    assert listed(house, "kind=timeout") == [(upper, "timeout", "took longer than 300 s", 2)]
    house.call("GET", "/job/failures?state=finished", status=422)


def test_what_was_run_again_is_no_failure_any_more(house: House):
    one, other, left = fail(house, house.new_lambda(), "guest", "no", 3)
    house.call("POST", "/job/bulk", {"action": "retry", "ids": [one]})
    house.call("POST", "/job/bulk", {"action": "retry", "ids": [other], "edit": {"timeout_s": 1}})
    [failure] = house.call("GET", "/job/failures")["failures"]
    assert (failure["count"], failure["job"]) == (1, left)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("plain", "plain"),
        ('"quoted" \\ back', '"quoted" \\ back'),
        ("first\nsecond", "first"),
        ("nul \0 and \x1b", "nul \0 and \x1b"),
        ("", ""),
        ("é" * 400, "é" * (TOLD_APART - len('{"kind":"trap","message":"'))),
        ("\x01" * 400, "\x01" * ((TOLD_APART - len('{"kind":"trap","message":"')) // 6)),
    ],
)
def test_a_reason_is_read_wherever_its_text_is_cut_off(message: str, line: str):
    stored = to_json(JobError(kind=ErrorKind.TRAP, message=message, trace="where"))
    assert stored is not None
    assert _read_reason(stored[:TOLD_APART]) == ("trap", line)


def test_a_failure_without_a_reason_is_one_all_the_same():
    assert _read_reason("") == ("", "")
