"""Results of deterministic jobs that equal jobs are answered with."""

from typing import Any

import pytest
from house import House, failed, finished

DIGESTS = {"module": "m" * 64, "input": "i" * 64, "memory": "e" * 64}
CODE = b"#!deterministic"


@pytest.fixture
def memo_lambda(house: House) -> str:
    codex = house.call("POST", "/data", data=CODE, content_type="application/octet-stream")["id"]
    return house.new_lambda(codex=codex, deterministic=True, memo=True)


def told(lease: dict[str, str], text: str = "ok", *, fuel: int = 100, output: str = "o" * 64) -> dict[str, Any]:
    """Return an outcome of a deterministic run."""
    return finished(lease, text) | {
        "usage": {"wall_s": 0.5, "cpu_s": 0.4, "fuel": fuel, "digests": DIGESTS | {"output": output}}
    }


def trapped(lease: dict[str, str], kind: str = "trap") -> dict[str, Any]:
    return failed(lease, kind, "unreachable") | {"usage": {"fuel": 7, "digests": DIGESTS}}


def info(house: House, job: str) -> Any:
    return house.call("GET", f"/job/{job}?view=full")


def output(house: House, job: str) -> bytes:
    return house.fetch(f"/data/{info(house, job)['output']['id']}/blob").data


def test_an_equal_job_is_answered_inside_its_submission(house: House, memo_lambda: str):
    worker = house.new_worker()
    first = house.submit(memo_lambda)
    house.finish(worker, told(house.lease(worker), "result"))
    again = house.submit(memo_lambda)
    found = info(house, again)
    assert (found["state"], found["recalled"], found["attempt"]) == ("Finished", first, 0)
    assert house.call("GET", f"/job/{again}")["output"] == house.call("GET", f"/job/{first}")["output"]
    assert found["usage"]["fuel"] == 100
    assert "wall_s" not in found["usage"]
    assert house.contract(worker)["jobs"] == []
    assert house.trace(again)[-1] == ("Finished", f"answered with the result of job {first}")


@pytest.mark.parametrize(
    "change",
    [
        {"input": {"text": "y"}}, {"args": ["a"]}, {"env": {"A": "1"}}, {"limits": {"fuel": 5}},
        {"ok_codes": [3]}, {"tenant": "other"}, {"files": {"f": {"text": "1"}}}, {"memo": False},
    ],
    ids=str,
)  # fmt: skip
def test_what_may_change_the_result_makes_another_job(house: House, memo_lambda: str, change: dict[str, Any]):
    worker = house.new_worker(tags=["files"])
    house.submit(memo_lambda)
    house.finish(worker, told(house.lease(worker)))
    assert house.state(house.submit(memo_lambda, **change)) == "Enqueued"


def test_terms_that_change_no_result_do_not_count(house: House, memo_lambda: str):
    worker = house.new_worker()
    house.submit(memo_lambda)
    house.finish(worker, told(house.lease(worker)))
    other = house.submit(memo_lambda, timeout_s=3, priority=9, tags=["gpu"], max_attempts=2)
    assert house.state(other) == "Finished"


def test_another_lambda_with_the_same_code_and_terms_shares_results(house: House, memo_lambda: str):
    worker = house.new_worker()
    house.submit(memo_lambda)
    house.finish(worker, told(house.lease(worker)))
    codex = house.call("GET", f"/lambda/{memo_lambda}")["codex"]
    twin = house.new_lambda(codex=codex, deterministic=True, memo=True, name="twin")
    assert house.state(house.submit(twin)) == "Finished"


@pytest.mark.slow
def test_equal_jobs_in_flight_share_one_execution(house: House, memo_lambda: str):
    worker = house.new_worker()
    first = house.submit(memo_lambda)
    more = house.call("POST", "/job", {"jobs": [{"lambda": memo_lambda, "input": {"text": "x"}}] * 120})["ids"]
    assert {house.state(job) for job in more} == {"Waiting"}
    [leased] = house.contract(worker, max=10)["jobs"]
    house.finish(worker, told(leased))
    for _ in range(5):
        house.move_on()
    assert {(info(house, job)["state"], info(house, job)["recalled"]) for job in more} == {("Finished", first)}
    assert house.contract(worker)["jobs"] == []


def test_jobs_of_one_submission_share_one_execution(house: House, memo_lambda: str):
    worker = house.new_worker()
    ids = house.call("POST", "/job", {"jobs": [{"lambda": memo_lambda, "input": {"text": "x"}}] * 3})["ids"]
    assert [house.state(job) for job in ids] == ["Enqueued", "Waiting", "Waiting"]
    house.finish(worker, told(house.lease(worker)))
    assert [house.state(job) for job in ids] == ["Finished"] * 3


@pytest.mark.parametrize("kind", ["trap", "guest", "fuel", "output"])
def test_deterministic_failures_are_known_and_not_repeated(house: House, memo_lambda: str, kind: str):
    worker = house.new_worker()
    first = house.submit(memo_lambda, max_attempts=5)
    house.finish(worker, trapped(house.lease(worker), kind))
    assert house.state(first) == "Fail_Execution"
    found = info(house, house.submit(memo_lambda, max_attempts=5))
    assert (found["state"], found["recalled"], found["error"]["kind"]) == ("Fail_Execution", first, kind)


@pytest.mark.parametrize("kind", ["timeout", "memory", "load", "worker", "input"])
def test_other_failures_are_never_kept(house: House, memo_lambda: str, kind: str):
    worker = house.new_worker()
    first = house.submit(memo_lambda, max_attempts=1)
    waits = house.submit(memo_lambda)
    while house.state(first) != "Fail_Execution":
        house.finish(worker, trapped(house.lease(worker), kind))
        house.clock.forward(400)
        house.move_on()
    assert house.state(waits) == "Enqueued"
    assert house.trace(waits)[-1] == ("Enqueued", "the equal job that it waited for gave no result")


def test_what_a_worker_tells_without_digests_is_not_kept(house: House, memo_lambda: str):
    worker = house.new_worker()
    house.submit(memo_lambda)
    house.finish(worker, finished(house.lease(worker)))
    assert house.state(house.submit(memo_lambda)) == "Enqueued"


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_when_the_one_that_runs_gives_no_result_the_next_does(house: House, memo_lambda: str, end: str):
    worker = house.new_worker()
    first, second, third = (house.submit(memo_lambda) for _ in range(3))
    house.call("DELETE", f"/job/{first}")
    if end == "delete":
        house.call("POST", "/job/bulk", {"action": "delete", "ids": [first]})
    house.move_on()
    assert [house.state(job) for job in (second, third)] == ["Enqueued", "Waiting"]
    house.finish(worker, told(house.lease(worker)))
    house.move_on()
    assert [info(house, job).get("recalled") for job in (second, third)] == [None, second]


def test_a_job_that_waits_for_one_that_is_answered_goes_on(house: House, memo_lambda: str):
    worker, plain = house.new_worker(), house.new_lambda()
    house.submit(memo_lambda)
    house.finish(worker, told(house.lease(worker), "given"))
    jobs = [{"lambda": memo_lambda, "input": {"text": "x"}}, {"lambda": plain, "input": {"job": "@0"}}]
    _, after = house.call("POST", "/job", {"jobs": jobs})["ids"]
    assert house.state(after) == "Enqueued"
    [leased] = house.contract(worker, inline_max_bytes=100)["jobs"]
    assert leased["job"] == after
    assert leased["input"]["text"] == "given"


def test_results_stay_when_their_job_goes_and_go_when_nobody_uses_them(house: House, memo_lambda: str):
    worker = house.new_worker()
    first = house.submit(memo_lambda, retain_s=60)
    house.finish(worker, told(house.lease(worker), "kept"))
    house.clock.forward(120)
    while house.services.retention.step():
        pass
    house.call("GET", f"/job/{first}", status=404)
    again = house.submit(memo_lambda)
    assert output(house, again) == b"kept"
    house.clock.forward(31 * 86_400)
    while house.services.memos.sweep():
        pass
    found = house.call("GET", f"/lambda/{memo_lambda}/memos")
    assert (found["kept"], found["hits"]) == (0, 0)
    assert house.state(house.submit(memo_lambda)) == "Enqueued"


def test_results_are_told_of_and_forgotten(house: House, memo_lambda: str):
    worker = house.new_worker()
    house.submit(memo_lambda)
    house.finish(worker, told(house.lease(worker)))
    house.submit(memo_lambda)
    house.submit(memo_lambda)
    found = house.call("GET", f"/lambda/{memo_lambda}/memos")
    assert (found["kept"], found["hits"]) == (1, 2)
    said = house.call("DELETE", f"/lambda/{memo_lambda}/memos")
    assert said["message"] == f"1 results of lambda {memo_lambda} are forgotten"
    assert house.state(house.submit(memo_lambda)) == "Enqueued"


@pytest.mark.parametrize(
    ("outcome", "what"),
    [({"fuel": 101}, "fuel"), ({"output": "p" * 64}, "output")],
)
def test_code_that_gives_two_results_is_not_remembered_any_more(
    tmp_path_factory: pytest.TempPathFactory, outcome: dict[str, Any], what: str
):
    house = House(tmp_path_factory.mktemp("house"), settings={"memo_check": 1.0})
    codex = house.call("POST", "/data", data=CODE, content_type="application/octet-stream")["id"]
    memo_lambda = house.new_lambda(codex=codex, deterministic=True, memo=True)
    worker = house.new_worker()
    first = house.submit(memo_lambda)
    house.finish(worker, told(house.lease(worker)))
    assert house.state(house.submit(memo_lambda)) == "Finished"
    check = house.lease(worker)
    house.finish(worker, told(check, **outcome))
    found = house.call("GET", f"/lambda/{memo_lambda}/memos")
    expected = f"job {check['job']} had another {what} than job {first}, which should be equal"
    assert found["stopped_why"] == expected
    assert house.state(house.submit(memo_lambda)) == "Enqueued"
    while house.services.memos.sweep():
        pass
    assert house.call("GET", f"/lambda/{memo_lambda}/memos")["kept"] == 0
    house.call("DELETE", f"/lambda/{memo_lambda}/memos")
    assert "stopped_why" not in house.call("GET", f"/lambda/{memo_lambda}/memos")
    house.close()


def test_a_check_that_agrees_changes_nothing(tmp_path_factory: pytest.TempPathFactory):
    house = House(tmp_path_factory.mktemp("house"), settings={"memo_check": 1.0})
    codex = house.call("POST", "/data", data=CODE, content_type="application/octet-stream")["id"]
    memo_lambda = house.new_lambda(codex=codex, deterministic=True, memo=True)
    worker = house.new_worker()
    house.submit(memo_lambda)
    house.finish(worker, told(house.lease(worker)))
    house.submit(memo_lambda)
    house.finish(worker, told(house.lease(worker)))
    assert house.services.memos.counts.checked == 1
    assert "stopped_why" not in house.call("GET", f"/lambda/{memo_lambda}/memos")
    house.close()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "`memo` needs `deterministic`"),
        ({"deterministic": True, "grants": {"http": ["a.test"]}}, "`memo` goes with no grants"),
        ({"deterministic": True, "outputs": ["*"], "runtime": "wasi"}, "`memo` goes with no `outputs`"),
    ],
)
def test_only_what_gives_the_same_each_time_is_remembered(house: House, fields: dict[str, Any], complaint: str):
    body = {"codex": "0", "runtime": "default", "memo": True} | fields
    assert complaint in house.call("POST", "/lambda", body, status=422)["message"]


def test_a_recalled_failure_that_is_run_again_runs(house: House, memo_lambda: str):
    worker = house.new_worker()
    house.submit(memo_lambda)
    house.finish(worker, trapped(house.lease(worker)))
    again = house.submit(memo_lambda)
    assert house.call("POST", "/job/bulk", {"action": "retry", "ids": [again]})["changed"] == 1
    assert house.state(again) == "Enqueued"
    house.finish(worker, trapped(house.lease(worker)))
    assert "recalled" not in info(house, again)
