"""Why a job waits: each reason is told while it holds, and no longer."""

from datetime import UTC, datetime

import pytest
from house import House, failed

from piecework.server.services.queue.reading import waits


def why(house: House, job: str) -> tuple[str | None, str]:
    info = house.call("GET", f"/job/{job}?view=full")
    return info.get("waits_for"), info.get("advice", "")


def test_a_paused_job_waits_for_someone(house: House):
    job = house.submit(house.new_lambda(), status="paused")
    assert why(house, job) == ("paused", "it is paused, and someone must resume it")


def test_a_job_for_later_says_when(house: House):
    at = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    job = house.submit(house.new_lambda(), run_at=at.isoformat())
    assert why(house, job) == ("due", "it is due at 2030-01-02T03:04:00+00:00")


def test_a_job_that_failed_says_when_it_is_tried_again_and_why(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda(), backoff={"kind": "fixed", "base_s": 60})
    house.finish(worker, failed(house.lease(worker), "guest", "out of luck"))
    reason, text = why(house, job)
    assert reason == "retry"
    assert text.startswith("attempt 2 of 3 is due at ")
    assert text.endswith("the last one failed, guest: out of luck")


@pytest.mark.parametrize(
    ("worker", "says"),
    [
        (None, "no worker was heard of lately: 'piecework worker run' starts one"),
        (
            {"runtime": ["lua5.4"]},
            "no worker that was heard of lately offers the runtime wasi+net with tags +gpu -slow",
        ),
        ({"runtime": ["wasi"], "tags": ["gpu"]}, "; of those with wasi, the nearest lacks net"),
        ({"runtime": ["wasi+net"]}, "no worker that offers the runtime wasi+net goes with the tags +gpu -slow"),
        ({"runtime": ["wasi+net"], "tags": ["gpu", "slow"]}, "goes with the tags +gpu -slow"),
    ],
)
def test_a_job_that_no_worker_can_run_says_what_is_lacking(house: House, worker, says: str):
    job = house.submit(house.new_lambda(runtime="wasi+net"), tags=["+gpu", "-slow"])
    if worker:
        house.new_worker(**worker)
    reason, text = why(house, job)
    assert reason == "no_worker"
    assert says in text


def test_a_worker_that_is_gone_or_stopped_offers_nothing(house: House):
    job = house.submit(house.new_lambda())
    worker = house.new_worker(incarnation="one")
    assert why(house, job) == (None, "")
    house.call("POST", f"/worker/{worker}/leave", {"incarnation": "one"})
    assert why(house, job)[0] == "no_worker"
    house.new_worker()
    assert why(house, job)[0] is None
    house.clock.forward(61)
    assert why(house, job)[0] == "no_worker"


def test_workers_that_drain_are_told(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    house.call("POST", f"/worker/{worker}/drain")
    assert why(house, job)[0] == "draining"


def test_busy_workers_are_told_with_the_jobs_ahead(house: House):
    lambda_ = house.new_lambda()
    for _ in range(2):
        house.submit(lambda_)
        house.lease(house.new_worker())
    first, second, third = (house.submit(lambda_) for _ in range(3))
    assert why(house, first) == ("busy", "all 2 workers that may run it are busy (2 slots)")
    assert why(house, second)[1].endswith("busy (2 slots), and 1 job is ahead of it")
    assert why(house, third)[1].endswith("and 2 jobs are ahead of it")


def test_jobs_ahead_are_those_that_its_workers_may_run_before_it(house: House, monkeypatch: pytest.MonkeyPatch):
    house.new_worker("default", "wasi")
    for fields in ({"priority": -1}, {}, {"priority": 5}):
        house.submit(house.new_lambda(), **fields)
        house.submit(house.new_lambda(runtime="wasi"), **fields)
        house.submit(house.new_lambda(runtime="lua5.4"), **fields)
    job = house.submit(house.new_lambda())
    house.submit(house.new_lambda())
    assert why(house, job) == ("queued", "4 jobs are ahead of it")
    monkeypatch.setattr(waits, "AHEAD_MAX", 3)
    assert why(house, job) == ("queued", "3 jobs or more are ahead of it")


def test_a_job_that_runs_or_has_ended_waits_for_nothing(house: House):
    job = house.submit(house.new_lambda())
    house.lease(house.new_worker())
    assert why(house, job) == (None, "")
    house.call("DELETE", f"/job/{job}")
    assert why(house, job) == (None, "")


def test_a_worker_tells_the_jobs_that_it_holds(house: House):
    worker, lambda_ = house.new_worker(slots=2), house.new_lambda(name="shout")
    for _ in range(2):
        house.submit(lambda_)
    first = house.lease(worker)["job"]
    house.clock.forward(5)
    second = house.lease(worker)["job"]
    held = house.call("GET", f"/worker/{worker}?view=full")["jobs"]
    assert [(each["job"], each["lambda"], each["name"], each["attempt"]) for each in held] == [
        (first, lambda_, "shout", 1),
        (second, lambda_, "shout", 1),
    ]
    assert held[1]["since"] - held[0]["since"] == 5


def test_jobs_are_listed_by_the_worker_that_has_them(house: House):
    one, other = house.new_worker(), house.new_worker()
    jobs = [house.submit(house.new_lambda()) for _ in range(3)]
    house.lease(one)
    house.lease(other)
    found = house.call("GET", f"/job?worker={one}")["jobs"]
    assert [each["id"] for each in found] == [jobs[0]]
    assert house.call("GET", f"/job?worker={one}&state=finished")["jobs"] == []


def test_a_list_says_of_the_first_that_wait_why_they_do(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("piecework.server.api.queue.jobs.jobinfo.EXPLAINED_MAX", 2)
    lambda_, worker = house.new_lambda(), house.new_worker()
    ended = house.submit(lambda_)
    house.finish(worker, failed(house.lease(worker)) | {"state": "Finished", "error": None})
    paused = [house.submit(lambda_, status="paused") for _ in range(3)]
    told = {each["id"]: each.get("waits_for") for each in house.call("GET", "/job?view=full")["jobs"]}
    assert told == {paused[2]: "paused", paused[1]: "paused", paused[0]: None, ended: None}
    assert not any("advice" in each for each in house.call("GET", "/job")["jobs"])
