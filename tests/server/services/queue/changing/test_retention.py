"""How long final jobs stay."""

import itertools

import pytest
from house import House, failed, finished
from places import Place

from piecework.server.services.queue.changing import retention
from piecework.server.services.queue.changing.retention import READ_AGAIN_MS, UNREAD_MS
from piecework.server.services.sweeper import Sweep, Sweeper

DAY_S = 86_400.0
OUTCOMES = {"Finished": finished, "Fail_Execution": lambda lease: failed(lease, kind="load")}


@pytest.fixture
def lambda_id(house: House) -> str:
    return house.new_lambda()


def end(house: House, lambda_id: str, state: str = "Finished", **fields: object) -> int:
    """Submit a job and bring it into a final state."""
    job = house.submit(lambda_id, **fields)
    if state == "Cancelled":
        house.call("DELETE", f"/job/{job}")
    else:
        worker = house.new_worker()
        house.finish(worker, OUTCOMES[state](house.lease(worker)))
    return int(job)


def sweep(house: House) -> None:
    while house.services.retention.step():
        pass


def is_there(house: House, job: int) -> bool:
    """Tell whether a job is kept, without reading it as a submitter does."""
    return any(each["id"] == str(job) for each in house.call("GET", "/job")["jobs"])


@pytest.mark.parametrize(("state", "days"), [("Finished", 7), ("Fail_Execution", 30), ("Cancelled", 30)])
def test_a_job_stays_as_the_settings_say_for_how_it_ended(house: House, lambda_id: str, state: str, days: int):
    job = end(house, lambda_id, state)
    house.clock.forward(days * DAY_S - 1)
    sweep(house)
    assert is_there(house, job)
    house.clock.forward(1)
    sweep(house)
    assert not is_there(house, job)


@pytest.mark.parametrize("own", ["job", "lambda"])
def test_a_job_or_its_lambda_says_how_long_it_stays(house: House, own: str):
    short = {"retain_s": 60} if own == "lambda" else {}
    job = end(house, house.new_lambda(**short), **({"retain_s": 60} if own == "job" else {}))
    house.clock.forward(59.9)
    sweep(house)
    assert house.call("GET", f"/job/{job}?view=full")["retain_s"] == 60.0
    house.clock.forward(0.1)
    sweep(house)
    assert not is_there(house, job)


def test_a_job_says_more_than_its_lambda(house: House):
    job = end(house, house.new_lambda(retain_s=60), retain_s="never")
    house.clock.forward(1000 * DAY_S)
    sweep(house)
    info = house.call("GET", f"/job/{job}?view=full")
    assert info["retain_s"] == "never"
    assert "removed_at" not in info


def test_jobs_that_stay_longer_hold_no_others_up(house: House, lambda_id: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retention, "FOUND", 2)
    kept = [end(house, lambda_id, retain_s=retain_s) for retain_s in ("never", 100 * DAY_S, "never")]
    gone = [end(house, lambda_id) for _ in range(5)]
    house.clock.forward(7 * DAY_S)
    sweep(house)
    assert [is_there(house, job) for job in (*kept, *gone)] == [True] * 3 + [False] * 5


def test_a_job_with_0_goes_a_minute_after_its_end_was_read(house: House, lambda_id: str):
    job = end(house, lambda_id, retain_s=0)
    house.clock.forward(3600)
    sweep(house)
    for _ in range(2):  # an answer may get lost
        assert house.call("GET", f"/job/{job}")["state"] == "Finished"
        house.clock.forward(READ_AGAIN_MS / 2000)
        sweep(house)
    assert not is_there(house, job)


def test_a_job_with_0_that_runs_has_not_been_read(house: House, lambda_id: str):
    job = house.submit(lambda_id, retain_s=0)
    house.call("GET", f"/job/{job}")
    worker = house.new_worker()
    house.finish(worker, finished(house.lease(worker)))
    house.clock.forward(READ_AGAIN_MS / 1000)
    sweep(house)
    assert is_there(house, int(job))


@pytest.mark.parametrize("read", ["/job?ids={job}", "/job/{job}?except=Finished&timeout=1"])
def test_reading_many_and_waiting_are_reading(house: House, lambda_id: str, read: str):
    job = end(house, lambda_id, retain_s=0)
    house.call("GET", read.format(job=job))
    house.clock.forward(READ_AGAIN_MS / 1000)
    sweep(house)
    assert not is_there(house, job)


def test_a_job_with_0_that_nobody_reads_goes_after_a_day(house: House, lambda_id: str):
    job = end(house, lambda_id, retain_s=0)
    house.clock.forward(UNREAD_MS / 1000 - 1)
    sweep(house)
    assert is_there(house, job)
    house.restart()
    house.clock.forward(1)
    sweep(house)
    assert not is_there(house, job)


def test_settings_may_keep_nothing_or_all(place: Place):
    house = House(
        place.data,
        database_url=place.database_url,
        settings={"retain_finished": "0", "retain_failed": "1h30m", "retain_cancelled": "never"},
    )
    lambda_id = house.new_lambda()
    read, failed_, cancelled = (end(house, lambda_id, state) for state in (*OUTCOMES, "Cancelled"))
    house.call("GET", f"/job/{read}")
    house.clock.forward(5400)
    sweep(house)
    assert [is_there(house, job) for job in (read, failed_, cancelled)] == [False, False, True]
    house.clock.forward(1000 * DAY_S)
    sweep(house)
    assert is_there(house, cancelled)
    house.close()


def test_a_job_that_is_run_again_in_time_stays(house: House, lambda_id: str):
    job = end(house, lambda_id, key="k")
    house.clock.forward(6 * DAY_S)
    assert int(house.submit(lambda_id, key="k")) == job
    house.clock.forward(DAY_S)
    sweep(house)
    assert int(house.submit(lambda_id, key="k")) != job, "its key went with it"


def test_when_a_job_goes_is_told(house: House, lambda_id: str):
    job = end(house, lambda_id)
    ended = house.clock() / 1000
    assert house.call("GET", f"/job/{job}?view=full")["removed_at"] == ended + 7 * DAY_S
    waiting = house.submit(lambda_id, retain_s=5)
    assert "removed_at" not in house.call("GET", f"/job/{waiting}?view=full")
    assert "retain_s" not in house.call("GET", f"/job/{job}")


@pytest.mark.parametrize("wrong", [-1, 1e12, "for ever", "7d"])
def test_a_retention_that_makes_no_sense_is_refused(house: House, lambda_id: str, wrong: object):
    for path, body in (("/job", {"lambda": lambda_id}), ("/lambda", {"codex": "0", "runtime": "x"})):
        answer = house.call("POST", path, {**body, "retain_s": wrong}, status=422)
        assert "retain_s" in answer["message"]


def test_the_sweeper_rests_as_long_as_a_step_took_and_goes_on():
    clock = itertools.count()
    steps = iter([True, True, False])
    sweeper = Sweeper(
        [Sweep("broken", 5.0, lambda: 1 / 0, due_at=0), Sweep("jobs", 60.0, lambda: next(steps), due_at=0)],
        monotonic=lambda: float(next(clock)),
    )
    rests = [sweeper.turn() for _ in range(4)]
    assert next(steps, None) is None
    assert all(0 <= rest_s <= 5 for rest_s in rests)
