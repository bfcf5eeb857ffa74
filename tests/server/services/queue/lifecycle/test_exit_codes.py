"""How guests ended themselves: codes that mean success, and what a job had written before it failed."""

from typing import Any

import msgspec
import pytest
from house import House, failed, finished


def full(house: House, job: str) -> Any:
    return house.call("GET", f"/job/{job}?view=full")


def fail_with(house: House, job: str, code: int = 20, text: str = "unsat\n", kind: str = "load") -> None:
    """Let the next job, which must be this one, fail after it wrote something."""
    worker = house.new_worker()
    lease = house.lease(worker)
    assert lease["job"] == job
    house.finish(worker, failed(lease, kind, f"exit code {code}") | {"output": {"text": text}, "exit_code": code})


def settle_all(house: House) -> None:
    """Let the timekeeper do all that is left about groups and dependants."""
    while house.services.groups.settle() == 0 or house.services.dependants.settle() == 0:
        pass


def read_blob(house: House, blob: str) -> bytes:
    return house.fetch(f"/data/{blob}/blob").data


def test_output_of_a_failed_job_is_kept_apart(house: House):
    job = house.submit(house.new_lambda())
    fail_with(house, job)
    info = full(house, job)
    assert (info["state"], info["exit_code"], info["output_size"]) == ("Fail_Execution", 20, 6)
    assert "output" not in info
    assert read_blob(house, info["failed_output"]) == b"unsat\n"
    assert "exit_code" not in info["usage"]


def test_older_clients_see_neither_code_nor_output(house: House):
    job = house.submit(house.new_lambda())
    fail_with(house, job)
    info = house.call("GET", f"/job/{job}")
    assert not {"exit_code", "failed_output", "output"} & info.keys()
    assert info["job_output_id"] is None


def test_attempt_that_is_followed_by_another_leaves_no_output(house: House):
    job = house.submit(house.new_lambda(), max_attempts=2, backoff={"kind": "none"})
    fail_with(house, job, code=3, kind="guest")
    info = full(house, job)
    assert (info["state"], info["exit_code"], info.get("failed_output")) == ("Enqueued", 3, None)
    worker = house.new_worker()
    house.finish(worker, finished(house.lease(worker)))
    assert full(house, job)["exit_code"] == 0


def test_job_that_runs_again_forgets_what_it_wrote(house: House):
    job = house.submit(house.new_lambda())
    fail_with(house, job)
    house.call("POST", "/job/bulk", {"action": "retry", "ids": [job]})
    assert "failed_output" not in full(house, job)


def test_dependants_get_results_only(house: House):
    lambda_ = house.new_lambda()
    job = house.submit(lambda_)
    before = house.submit(lambda_, input={"job": job}, inputs={"also": job}, on_failure="run")
    fail_with(house, job)
    later = house.submit(lambda_, input={"job": job}, on_failure="run")
    worker = house.new_worker()
    leased = {each["job"]: each for each in house.contract(worker, max=9, tags=["inputs"])["jobs"]}
    assert [leased[each]["input"]["id"] for each in (before, later)] == ["0", "0"]
    assert "files" not in leased[before]


def test_group_tells_outputs_of_failures_from_results(house: House):
    lambda_ = house.new_lambda()
    job = house.submit(lambda_, group="g")
    report = house.submit(lambda_, input={"job": house.call("GET", "/group/g")["group"]["id"]}, on_failure="run")
    fail_with(house, job)
    house.call("POST", "/group/g/seal")
    settle_all(house)
    [member] = msgspec.json.decode(read_blob(house, full(house, report)["input"]["id"]))["jobs"]
    assert member == {"id": job, "state": "Fail_Execution", "failed_output": full(house, job)["failed_output"]}


@pytest.mark.parametrize(
    ("of_lambda", "of_job", "leased"),
    [([20, 10, 0, 10], None, [10, 20]), ([10], [30], [30]), ([10], [], None), (None, None, None)],
)
def test_ok_codes_come_from_the_job_or_its_lambda(house: House, of_lambda, of_job, leased):
    lambda_ = house.new_lambda(ok_codes=of_lambda)
    job = house.submit(lambda_, ok_codes=of_job)
    [found] = house.contract(house.new_worker())["jobs"]
    assert found.get("ok_codes") == leased
    assert full(house, job).get("ok_codes") == leased


@pytest.mark.parametrize("codes", [[-1], [2**32], ["x"], list(range(257))])
def test_ok_codes_that_no_guest_has_are_refused(house: House, codes):
    body = {"codex": "0", "runtime": "default", "ok_codes": codes}
    assert "ok_codes" in house.call("POST", "/lambda", body, status=422)["message"]


def test_finished_job_tells_with_which_code(house: House):
    job = house.submit(house.new_lambda(ok_codes=[10]))
    worker = house.new_worker()
    house.finish(worker, finished(house.lease(worker), "sat") | {"exit_code": 10})
    info = full(house, job)
    assert (info["state"], info["exit_code"]) == ("Finished", 10)
    assert ("Finished", "exit code 10") in house.trace(job)
