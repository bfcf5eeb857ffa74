"""Pausing lambdas, runtimes, groups and tenants: jobs come in, and none is leased."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from house import House, failed, finished
from patience import LONG_S, PATIENCE_S

from piecework.protocol.messages import ContractRequest
from piecework.server.services.queue.changing import stepsize
from piecework.server.services.queue.changing.stepsize import StepSize
from piecework.server.services.queue.lifecycle import parking
from piecework.server.services.queue.waiting.pauses import wait_out
from piecework.server.store.queue.leasing import leases


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a turn of the timekeeper end when all is done, on a busy machine, too."""
    monkeypatch.setattr("piecework.server.services.queue.changing.holds.CHORE_S", LONG_S)


def pause(house: House, kind: str, target: str, **body: Any) -> list[dict[str, Any]]:
    return list(house.call("PUT", f"/hold/{kind}/{target}", body)["holds"])


def resume(house: House, kind: str, target: str) -> list[dict[str, Any]]:
    return list(house.call("DELETE", f"/hold/{kind}/{target}")["holds"])


def new_group(house: House) -> str:
    return str(house.call("POST", "/group", {"name": "nightly"})["group"]["id"])


def why(house: House, job: str) -> tuple[str, str]:
    info = house.call("GET", f"/job/{job}?view=full")
    return info["waits_for"], info["advice"]


def lease_all(house: House, worker: str) -> list[str]:
    return [leased["job"] for leased in house.contract(worker, max=50)["jobs"]]


@pytest.mark.parametrize("kind", ["lambda", "runtime", "group", "tenant"])
def test_nothing_of_what_is_paused_is_leased_until_it_is_resumed(house: House, kind: str):
    lambda_id, other = house.new_lambda(runtime="wasi+http"), house.new_lambda(runtime="python")
    worker = house.new_worker("wasi+http", "python")
    group = new_group(house)
    job, free = house.submit(lambda_id, tenant="alice", group=group), house.submit(other)
    target = {"lambda": lambda_id, "runtime": "wasi", "group": group, "tenant": "alice"}[kind]
    [hold] = pause(house, kind, target, note="bad release")
    assert (hold["kind"], hold["target"], hold["note"]) == (kind, target, "bad release")
    assert lease_all(house, worker) == [free]
    reason, advice = why(house, job)
    assert (reason, advice.endswith(": bad release")) == ("held", True)
    assert house.call("GET", "/hold")["holds"] == [hold]
    assert pause(house, kind, target) == [hold], "a second pause changes nothing"
    assert resume(house, kind, target) == [hold]
    assert resume(house, kind, target) == []
    assert house.call("GET", "/hold")["holds"] == []
    assert lease_all(house, worker) == [job]


def test_jobs_of_a_paused_lambda_are_parked_and_come_back_in_their_order(house: House):
    lambda_id = house.new_lambda()
    jobs = [house.submit(lambda_id) for _ in range(3)]
    mine = house.submit(lambda_id)
    house.call("POST", f"/job/{mine}", {"status": "paused"})
    pause(house, "lambda", lambda_id)
    house.services.pauses.move_on()
    assert {house.state(job) for job in jobs} == {"Paused"}
    later = house.submit(lambda_id)
    house.services.pauses.move_on()
    assert house.state(later) == "Paused"
    resume(house, "lambda", lambda_id)
    assert lease_all(house, house.new_worker()) == [*jobs, later]
    assert house.state(mine) == "Paused", "it was paused by itself"
    assert house.trace(jobs[0])[:3] == [
        ("Enqueued", "submitted"),
        ("Paused", f"lambda {lambda_id} is paused"),
        ("Enqueued", "nothing that it belongs to is paused any more"),
    ]


def test_a_job_that_comes_back_to_the_queue_is_parked_by_the_claim_that_meets_it(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    job = house.submit(lambda_id)
    lease = house.lease(worker)
    pause(house, "lambda", lambda_id)
    house.services.pauses.move_on()
    assert house.state(job) == "Running", "what runs goes on"
    house.finish(worker, {**lease, "state": "Enqueued"})
    assert lease_all(house, worker) == []
    assert house.state(job) == "Paused"
    due = house.submit(lambda_id, delay_s=5)
    house.clock.forward(6)
    house.move_on()
    assert (house.state(due), lease_all(house, worker)) == ("Enqueued", [])
    assert house.state(due) == "Paused"


def test_a_claim_goes_past_what_is_held_and_parks_no_more_than_some_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parking, "PARKED_MAX", 5)
    held, free, worker = house.new_lambda(), house.new_lambda(), house.new_worker()
    house.call("POST", "/job", {"jobs": [{"lambda": held} for _ in range(23)]})
    job = house.submit(free)
    pause(house, "lambda", held)
    assert house.contract(worker)["jobs"] == []
    parked = len(house.call("GET", "/job?state=paused")["jobs"])
    assert 0 < parked < 23
    request = ContractRequest(max=1, timeout=20.0, incarnation="0")
    assert [leased.id for leased in wait_out(house.services.contracts.contract(int(worker), request)).jobs] == [
        int(job)
    ]
    assert len(house.call("GET", "/job?state=paused")["jobs"]) > parked


def test_a_job_that_is_parked_leaves_its_place_under_a_limit_to_others(house: House):
    held, free, worker = house.new_lambda(), house.new_lambda(), house.new_worker()
    limit = {"concurrency_key": "k", "concurrency_limit": 1}
    first, other = house.submit(held, **limit), house.submit(free, **limit)
    assert house.state(other) == "Waiting"
    pause(house, "lambda", held)
    while not (leased := house.contract(worker)["jobs"]):
        assert house.state(other) != "Waiting", "nobody lets it in"
    assert leased[0]["job"] == other
    assert house.state(first) == "Paused"
    resume(house, "lambda", held)
    assert (house.state(first), lease_all(house, worker)) == ("Waiting", [])
    house.finish(worker, finished({"job": other, "lease": leased[0]["lease"]}))
    assert lease_all(house, worker) == [first]


def test_two_holds_on_a_job_are_both_taken_off_before_it_goes_on(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    group = new_group(house)
    job = house.submit(lambda_id, group="nightly")
    pause(house, "lambda", lambda_id)
    [hold] = pause(house, "group", "nightly")
    assert (hold["target"], hold["name"]) == (group, "nightly")
    house.services.pauses.move_on()
    resume(house, "lambda", lambda_id)
    assert (house.state(job), lease_all(house, worker)) == ("Paused", [])
    assert f"group {group} is paused" in why(house, job)[1]
    resume(house, "group", group)
    assert lease_all(house, worker) == [job]


def test_jobs_are_released_in_steps_also_by_a_server_that_starts_later(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stepsize, "STEP_FIRST", 2)
    monkeypatch.setattr("piecework.server.services.queue.changing.holds.REQUEST_S", -1)
    lambda_id = house.new_lambda()
    jobs = [house.submit(lambda_id) for _ in range(5)]
    pause(house, "lambda", lambda_id)
    house.services.pauses.move_on()
    resume(house, "lambda", lambda_id)
    assert {house.state(job) for job in jobs} == {"Paused"}
    assert why(house, jobs[0]) == ("held", "it is let into the queue in a moment")
    house.restart()
    house.services.pauses._size = StepSize()
    house.services.pauses.move_on()
    assert {house.state(job) for job in jobs} == {"Enqueued"}
    pause(house, "lambda", lambda_id)
    assert lease_all(house, house.new_worker()) == []


def test_a_pause_that_comes_back_before_all_were_released_holds_them_again(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("piecework.server.services.queue.changing.holds.REQUEST_S", -1)
    lambda_id, worker = house.new_lambda(), house.new_worker()
    job = house.submit(lambda_id)
    pause(house, "lambda", lambda_id)
    house.services.pauses.move_on()
    resume(house, "lambda", lambda_id)
    pause(house, "lambda", lambda_id, note="again")
    house.services.pauses.move_on()
    assert (house.state(job), lease_all(house, worker)) == ("Paused", [])


def test_a_parked_job_is_steered_by_itself(house: House):
    lambda_id = house.new_lambda()
    one, other, third = (house.submit(lambda_id) for _ in range(3))
    pause(house, "lambda", lambda_id)
    house.services.pauses.move_on()
    reply = house.call("POST", f"/job/{one}", {"status": "enqueued"}, status=409)
    assert f"paused with lambda {lambda_id}" in reply["message"]
    house.call("POST", f"/job/{one}", {"status": "paused"})
    house.call("POST", "/job/bulk", {"action": "pause", "ids": [other]})
    house.call("DELETE", f"/job/{third}")
    done = house.call("POST", "/job/bulk", {"action": "resume", "ids": [third]})
    assert done["changed"] == 0
    resume(house, "lambda", lambda_id)
    assert [house.state(job) for job in (one, other, third)] == ["Paused", "Paused", "Cancelled"]
    assert house.call("POST", "/job/bulk", {"action": "resume", "ids": [one, other]})["changed"] == 2


def test_a_parked_job_that_expires_is_cancelled(house: House):
    lambda_id = house.new_lambda()
    job = house.submit(lambda_id, expires_at="2026-09-22T00:00:00Z")
    pause(house, "lambda", lambda_id)
    house.services.pauses.move_on()
    house.clock.forward(10 * 24 * 3600)
    house.move_on()
    assert house.state(job) == "Cancelled"


def test_a_job_that_is_run_again_while_its_lambda_is_paused_waits_for_that(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    job = house.submit(lambda_id, max_attempts=1)
    house.finish(worker, failed(house.lease(worker)))
    pause(house, "lambda", lambda_id)
    house.call("POST", "/job/bulk", {"action": "retry", "ids": [job]})
    assert lease_all(house, worker) == []
    resume(house, "lambda", lambda_id)
    house.finish(worker, finished(house.lease(worker)))
    assert house.state(job) == "Finished"


def test_a_worker_that_waits_gets_a_job_as_soon_as_its_lambda_is_resumed(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    pause(house, "lambda", lambda_id)
    job = house.submit(lambda_id)
    with ThreadPoolExecutor(1) as pool:
        request = ContractRequest(max=1, timeout=20.0, incarnation="0")
        asked = pool.submit(wait_out, house.services.contracts.contract(int(worker), request))
        while not any(each.take_turn for each in list(house.services.notifier.waiters._parked)):
            threading.Event().wait(0.001)
        resume(house, "lambda", lambda_id)
        assert [leased.id for leased in asked.result(PATIENCE_S).jobs] == [int(job)]


def test_all_lambdas_of_a_name_are_paused(house: House):
    older, newer = house.new_lambda(name="upper"), house.new_lambda(name="upper", args=["2"])
    jobs = [house.submit(lambda_id) for lambda_id in (older, newer)]
    assert {hold["target"] for hold in pause(house, "lambda", "upper")} == {older, newer}
    assert [hold["name"] for hold in house.call("GET", "/hold")["holds"]] == ["upper", "upper"]
    assert lease_all(house, house.new_worker()) == []
    assert len(resume(house, "lambda", f"upper@{newer}")) == 1
    assert lease_all(house, house.new_worker()) == [jobs[1]]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/hold/lambda/17", 404, "there is no lambda 17"),
        ("/hold/lambda/nobody", 404, "there is no lambda named"),
        ("/hold/worker/17", 400, "'worker' cannot be paused; what can is lambda, runtime, group, tenant"),
        ("/hold/group/x", 404, "there is no group x"),
        (f"/hold/tenant/{'x' * 201}", 422, "at most 200 characters"),
    ],
)
def test_what_cannot_be_paused_is_refused(house: House, path: str, status: int, message: str):
    assert message in house.call("PUT", path, {}, status=status)["message"]


def test_a_note_has_an_end(house: House):
    reply = house.call("PUT", "/hold/runtime/wasi", {"note": "x" * 501}, status=422)
    assert "at most 500 characters" in reply["message"]
    house.call("PUT", "/hold/runtime/wasi", {"nte": "x"}, status=422)


@pytest.mark.integration
def test_a_pause_waits_for_a_claim_that_has_begun(postgres_place: Any, monkeypatch: pytest.MonkeyPatch):
    """On a shared database, a claim that looked before the pause and leases after it leases nothing."""
    house = House(postgres_place.data, database_url=postgres_place.database_url)
    lambda_id, worker = house.new_lambda(), house.new_worker()
    jobs = [house.submit(lambda_id) for _ in range(2)]
    chosen, go_on = threading.Event(), threading.Event()
    grant = leases.grant_leases

    def slowly(*args: Any) -> bool:
        chosen.set()
        assert go_on.wait(LONG_S)
        return grant(*args)

    monkeypatch.setattr(leases, "grant_leases", slowly)
    with ThreadPoolExecutor(2) as pool:
        claim = pool.submit(
            wait_out, house.services.contracts.contract(int(worker), ContractRequest(max=1, timeout=0.0))
        )
        assert chosen.wait(LONG_S)
        paused = pool.submit(house.services.pauses.pause, "lambda", [lambda_id], "", None)
        while not house.services.pauses.list_all():
            threading.Event().wait(0.001)
        assert not paused.done(), "a claim is on its way"
        go_on.set()
        assert not claim.result(LONG_S).jobs
        assert paused.result(LONG_S)
    assert {house.state(job) for job in jobs} <= {"Paused", "Enqueued"}
    house.close()
