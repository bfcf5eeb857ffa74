"""How long running jobs may take yet, and which run far longer than usual."""

from typing import Any

import pytest
from house import House, finished

from piecework.server.services.queue.leasing import pace
from piecework.server.store.queue.leasing import runs


def run(house: House, lambda_id: str, worker: str, **usage: Any) -> None:
    """Run a job to its end."""
    house.submit(lambda_id)
    house.finish(worker, {**finished(house.lease(worker)), "usage": usage})


def start(house: House, lambda_id: str, worker: str) -> str:
    house.submit(lambda_id)
    return house.lease(worker)["job"]


def outlook(house: House, job: str) -> tuple[Any, Any, Any]:
    """Return what is expected of a job: how long it takes, when it ends from now on, whether it straggles."""
    info = house.call("GET", f"/job/{job}?view=full")
    eta = info.get("eta")
    left = None if eta is None else round(eta - house.clock() / 1000, 3)
    return info.get("expected_s"), left, info.get("straggler")


def test_a_running_job_is_expected_to_take_what_is_usual(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    for wall_s in (18.0, 20.0, 300.0):
        run(house, lambda_id, worker, wall_s=wall_s)
    job = start(house, lambda_id, worker)
    house.clock.forward(8)
    assert outlook(house, job) == (20.0, 12.0, False)
    house.clock.forward(52)
    assert outlook(house, job) == (20.0, -40.0, False)


def test_two_runs_do_not_tell_what_is_usual_and_the_third_is_noticed_in_time(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    for _ in range(2):
        run(house, lambda_id, worker, wall_s=20.0)
    job = start(house, lambda_id, worker)
    assert outlook(house, job) == (None, None, None)
    run(house, lambda_id, house.new_worker(), wall_s=20.0)  # submitted later, ended earlier
    assert outlook(house, job) == (None, None, None)
    house.clock.forward(10)
    assert outlook(house, job) == (20.0, 10.0, False)


def test_jobs_that_do_not_run_and_plain_views_have_no_expectation(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    for _ in range(3):
        run(house, lambda_id, worker, wall_s=20.0)
    job = start(house, lambda_id, worker)
    assert "eta" not in house.call("GET", f"/job/{job}")
    assert "eta" not in house.call("GET", "/job")["jobs"][0]
    listed = house.call("GET", "/job?view=full")["jobs"]
    assert [each["id"] for each in listed if "eta" in each] == [job]
    assert outlook(house, house.submit(lambda_id)) == (None, None, None)


def test_fuel_and_the_speed_of_a_worker_tell_how_long_a_job_takes_there(house: House):
    lambda_id, quick, slow = house.new_lambda(), house.new_worker(), house.new_worker()
    for _ in range(5):
        run(house, lambda_id, quick, wall_s=11.0, cpu_s=10.0, fuel=10_000)
    for _ in range(3):
        run(house, lambda_id, slow, wall_s=41.0, cpu_s=40.0, fuel=10_000)
    assert outlook(house, start(house, lambda_id, quick))[0] == 11.0
    assert outlook(house, start(house, lambda_id, slow))[0] == 41.0


def test_other_lambdas_tell_the_speed_of_a_worker(house: House):
    mine, other = house.new_lambda(), house.new_lambda()
    quick, slow = house.new_worker(), house.new_worker()
    for _ in range(3):
        run(house, mine, quick, wall_s=12.0, cpu_s=10.0, fuel=10_000)
        run(house, other, slow, wall_s=2.0, cpu_s=2.0, fuel=500)
    job = start(house, mine, slow)
    assert outlook(house, job)[0] == 12.0, "nothing is known of the worker"
    outlook(house, start(house, other, slow))
    assert outlook(house, job)[0] == 2 + 10_000 / 250


def test_what_workers_tell_that_cannot_be_is_left_out(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    for wall_s, cpu_s in ((-5.0, 1.0), (1e300, 1.0), (20.0, 1e-320), (20.0, -1.0), (20.0, 1e300)):
        run(house, lambda_id, worker, wall_s=wall_s, cpu_s=cpu_s, fuel=2**62)
    assert outlook(house, start(house, lambda_id, worker)) == (20.0, 20.0, False)


def test_a_job_that_runs_far_longer_than_usual_is_a_straggler(house: House):
    lambda_id, worker = house.new_lambda(name="tile"), house.new_worker()
    for _ in range(3):
        run(house, lambda_id, worker, wall_s=5.0)
    job = start(house, lambda_id, worker)
    house.clock.forward(20)
    assert outlook(house, job) == (5.0, -15.0, False)
    assert _status(house) == (0, "ok", "no job runs far longer than usual")
    house.clock.forward(10)
    assert outlook(house, job) == (5.0, -25.0, True)
    text = f"1 job runs far longer than usual: job {job} of lambda tile has run for 30 s, usual are 5.0 s"
    assert _status(house) == (1, "notice", text)
    assert "piecework_stragglers 1.0" in house.fetch("/metrics").text
    house.call("DELETE", f"/job/{job}")
    house.clock.forward(10)
    assert _status(house)[0] == 0
    assert "piecework_stragglers 0.0" in house.fetch("/metrics").text


def _status(house: House) -> tuple[int, str, str]:
    found = house.call("GET", "/sys/status?checks=all")
    [finding] = [each for each in found["findings"] if each["check"] == "stragglers"]
    return found["stragglers"], finding["level"], finding["text"]


def test_nothing_short_straggles_and_nothing_that_others_took_as_long_for(house: House):
    short, mixed, worker = house.new_lambda(), house.new_lambda(), house.new_worker()
    for _ in range(4):
        run(house, short, worker, wall_s=0.01)
        run(house, mixed, worker, wall_s=1.0)
    run(house, mixed, worker, wall_s=60.0)
    jobs = start(house, short, worker), start(house, mixed, worker)
    house.clock.forward(10)
    assert [outlook(house, job)[2] for job in jobs] == [False, False]
    house.clock.forward(1)
    assert [outlook(house, job)[2] for job in jobs] == [True, False]
    house.clock.forward(50)
    assert [outlook(house, job)[2] for job in jobs] == [True, True]


def test_what_is_usual_is_known_after_a_restart(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    for _ in range(3):
        run(house, lambda_id, worker, wall_s=20.0)
    job = start(house, lambda_id, worker)
    house.restart()
    assert outlook(house, job) == (20.0, 20.0, False)


def test_a_long_queue_is_not_walked_through(house: House, monkeypatch: pytest.MonkeyPatch):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    for _ in range(3):
        run(house, lambda_id, worker, wall_s=20.0)
    ids = house.call("POST", "/job", {"jobs": [{"lambda": lambda_id, "input": {"text": "x"}}] * 520})["ids"]
    assert len(ids) > runs.NEAR_MAX
    house.clock.forward(1)
    with house.services.database.read() as connection:
        assert runs.find_finished(connection, int(lambda_id), int(ids[-1])) == []
        assert len(runs.find_finished(connection, int(lambda_id), int(ids[0]))) == 3
    near = house.lease(worker)["job"]
    assert outlook(house, near)[0] == 20.0
    monkeypatch.setattr(runs, "find_finished", lambda *_: [])
    house.clock.forward(pace.FRESH_MS / 1000)
    assert outlook(house, near)[0] == 20.0, "what was known is kept"


def test_only_so_many_lambdas_are_remembered(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pace, "LAMBDAS_MAX", 2)
    worker = house.new_worker()
    for _ in range(4):
        outlook(house, start(house, house.new_lambda(), worker))
    assert len(house.services.pace._known) == 2
