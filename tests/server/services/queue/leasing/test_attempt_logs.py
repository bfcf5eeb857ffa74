"""The logs of all attempts: each can be read, and the newest are kept."""

import base64

import pytest
from house import House, failed

from piecework.server.store.queue.jobs.logs import ATTEMPTS_KEPT


def fail_with_log(house: House, worker: str, text: str, offset: int = 0) -> None:
    outcome = failed(house.lease(worker))
    log = base64.b64encode(text.encode()).decode()
    house.finish(worker, {**outcome, "log": log, "log_offset": offset})


@pytest.fixture
def job(house: House) -> str:
    """A job whose first attempt and third logged something, while its second was silent."""
    worker = house.new_worker()
    job = house.submit(house.new_lambda(), max_attempts=20, backoff={"kind": "none"})
    fail_with_log(house, worker, "first")
    house.finish(worker, failed(house.lease(worker)))
    fail_with_log(house, worker, "third", offset=7)
    return job


def test_the_logs_of_all_attempts_are_told_oldest_first(house: House, job: str):
    reply = house.call("GET", f"/job/{job}/logs")
    assert reply["logs"] == [
        {"attempt": 1, "text": "first", "offset": 0},
        {"attempt": 3, "text": "third", "offset": 7},
    ]
    assert (reply["attempts"], reply["state"]) == (3, "Enqueued")


def test_the_log_of_one_attempt_is_read_though_there_are_later_ones(house: House, job: str):
    def read(query: str) -> tuple[str, int, int, int]:
        log = house.call("GET", f"/job/{job}/log?{query}")
        return log["text"], log["offset"], log["next"], log["attempt"]

    assert read("attempt=1&only=true") == ("first", 0, 5, 1)
    assert read("attempt=1&only=true&offset=2") == ("rst", 2, 5, 1)
    assert read("attempt=1&only=true&offset=99") == ("", 5, 5, 1)
    assert read("attempt=2&only=true") == ("", 0, 0, 2)
    assert read("attempt=3&only=true") == ("third", 7, 12, 3)
    assert read("attempt=1") == ("third", 7, 12, 3), "who follows goes on with the latest"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("attempt=4&only=true", "has made 3 attempts so far: attempt 4 is none of them"),
        ("attempt=0&only=true", "attempt 0 is none of them"),
        ("only=true", "whose log"),
        ("attempt=1&only=perhaps", "only"),
    ],
)
def test_an_attempt_that_there_was_not_is_refused(house: House, job: str, query: str, says: str):
    assert says in house.call("GET", f"/job/{job}/log?{query}", status=400)["message"]


def test_the_logs_of_an_unknown_job_are_not_found(house: House):
    assert house.call("GET", "/job/17/logs", status=404)["message"] == "there is no job 17"
    house.call("GET", "/job/17/log?attempt=1&only=true", status=404)


def test_of_many_attempts_the_newest_logs_are_kept(house: House):
    worker, other = house.new_worker(), house.new_lambda()
    neighbour = house.submit(other, max_attempts=1)
    fail_with_log(house, worker, "of another job")
    job = house.submit(other, max_attempts=ATTEMPTS_KEPT + 3, backoff={"kind": "none"})
    for number in range(1, ATTEMPTS_KEPT + 4):
        fail_with_log(house, worker, f"attempt {number}")
    logs = house.call("GET", f"/job/{job}/logs")["logs"]
    assert [each["text"] for each in logs] == [f"attempt {n}" for n in range(4, ATTEMPTS_KEPT + 4)]
    assert house.call("GET", f"/job/{job}/log?attempt=1&only=true")["text"] == ""
    assert len(house.call("GET", f"/job/{neighbour}/logs")["logs"]) == 1
