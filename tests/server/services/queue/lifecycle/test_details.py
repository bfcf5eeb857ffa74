"""What is told of a job beside its row: what it runs with, who wanted it, how its attempts fared."""

from typing import Any

import pytest
from house import House, failed, finished

from piecework.server.services.tokens.token_acts import create_token

NO_PAUSE = {"kind": "none"}
DETAILS = {
    "submitter", "input_name", "input_size", "output_size", "args", "env", "limits", "backoff", "retry_on",
    "failed", "lost",
}  # fmt: skip


def full(house: House, job: str) -> Any:
    return house.call("GET", f"/job/{job}?view=full")


def test_a_job_tells_what_it_runs_with_its_own_over_its_lambdas_over_the_servers(house: House):
    lambda_ = house.new_lambda(
        name="upper", args=["a"], env={"LANG": "C", "API_KEY": "k", "MODE": "slow"}, limits={"timeout_s": 9}
    )
    backoff = {"kind": "fixed", "base_s": 7}
    job = house.submit(
        lambda_, args=["b", "c"], env={"MODE": "quick", "DB_PASSWORD": "x"}, limits={"memory_bytes": 1000},
        backoff=backoff, retry_on=["timeout"], input={"text": "hello", "name": "../in/words.txt"},
    )  # fmt: skip
    info = full(house, job)
    assert info["lambda"]["name"] == "upper"
    assert info["args"] == ["b", "c"]
    assert info["env"] == {"LANG": "C", "API_KEY": "***", "MODE": "quick", "DB_PASSWORD": "***"}
    defaults = house.services.settings
    assert info["limits"] == {
        "timeout_s": 9.0,
        "memory_bytes": 1000,
        "output_bytes": defaults.output_bytes,
        "log_bytes": defaults.log_bytes,
    }
    assert info["backoff"] == backoff | {"base_s": 7.0, "cap_s": 300.0}
    assert info["retry_on"] == ["timeout"]
    assert (info["input_name"], info["input_size"]) == ("words.txt", 5)
    assert info["backoff"].keys() == {"kind", "base_s", "cap_s"}


def test_a_job_of_which_nothing_was_said_has_the_defaults(house: House):
    job = house.call("POST", "/job", {"lambda": house.new_lambda(args=["a"])})["id"]
    info = full(house, job)
    assert (info["args"], info["env"], info["limits"]["timeout_s"]) == (["a"], {}, 300.0)
    assert info["backoff"] == {"kind": "exponential", "base_s": 1.0, "cap_s": 300.0}
    assert not info.keys() & {"submitter", "input_name", "input_size", "output_size", "retry_on"}
    assert "name" not in info["lambda"]


def test_nothing_of_it_is_told_to_who_did_not_ask(house: House):
    lambda_ = house.new_lambda(name="upper")
    job = house.submit(lambda_)
    assert not house.call("GET", f"/job/{job}").keys() & DETAILS
    assert house.call("GET", f"/job/{job}")["lambda"].keys() == {"id", "runtime", "codex"}
    for listed in (house.call("GET", "/job"), house.call("GET", f"/job?ids={job}")):
        [info] = listed["jobs"]
        assert info["lambda"]["name"] == "upper"
        assert not info.keys() & DETAILS


def test_an_uploaded_input_is_known_by_the_name_of_its_file(house: House):
    stored = house.client.post("/data", data={"file": (__file__, "ré sumé.pdf")}).get_json()
    job = house.submit(house.new_lambda(), input=stored["id"])
    info = full(house, job)
    assert info["input_name"] == "ré sumé.pdf"
    assert info["input_size"] > 1000
    assert house.call("GET", f"/data/{stored['id']}?view=full")["name"] == "ré sumé.pdf"
    assert "name" not in house.call("GET", f"/data/{stored['id']}")


def test_a_job_tells_whose_token_it_was_submitted_with(house: House):
    database, now = house.services.database, house.clock()
    secrets = {name: create_token(database, name, "submit", now) for name in ("ci", "Ann's laptop")}
    create_token(database, "a worker", "worker", now)
    house.clock.forward(2)
    admin = {"Authorization": f"Bearer {create_token(database, 'root', 'admin', now)}"}
    house.clock.forward(2)
    lambda_ = house.call("POST", "/lambda", {"codex": "0", "runtime": "default"}, headers=admin)["id"]
    for name, secret in secrets.items():
        shown = {"Authorization": f"Bearer {secret}"}
        job = house.call("POST", "/job", {"lambda": lambda_, "key": name}, headers=shown)["id"]
        [many] = house.call("POST", "/job", {"jobs": [{"lambda": lambda_}]}, headers=shown)["ids"]
        for each in (job, many):
            assert house.call("GET", f"/job/{each}?view=full", headers=admin)["submitter"] == name
        again = house.call("POST", "/job", {"lambda": lambda_, "key": name}, headers=admin)["id"]
        assert again == job, "who submits is no part of what is submitted"


def counts(house: House, job: str) -> tuple[int, int]:
    info = full(house, job)
    return info["failed"], info["lost"]


def test_failed_attempts_are_told_apart_from_those_lost_with_their_workers(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda(), max_attempts=3, backoff=NO_PAUSE)
    assert counts(house, job) == (0, 0)
    lease = house.lease(worker)
    assert counts(house, job) == (0, 0), "the first attempt goes on"
    house.finish(worker, failed(lease))
    assert counts(house, job) == (1, 0)
    house.lease(worker)
    house.clock.forward(16)
    house.move_on()
    assert counts(house, job) == (1, 1)
    house.finish(worker, failed(house.lease(worker), "worker"))
    assert counts(house, job) == (1, 2)
    lease = house.lease(worker)
    assert counts(house, job) == (1, 2)
    house.finish(worker, {**lease, "state": "Enqueued"})
    assert counts(house, job) == (1, 2), "what was handed back is no attempt"
    house.finish(worker, finished(house.lease(worker), "four"))
    assert counts(house, job) == (1, 2)
    assert full(house, job)["output_size"] == 4


@pytest.mark.parametrize("runs", [True, False])
def test_of_a_cancelled_job_the_attempt_that_was_stopped_did_not_fail(house: House, runs: bool):
    worker, job = house.new_worker(), house.submit(house.new_lambda(), max_attempts=3, backoff=NO_PAUSE)
    house.finish(worker, failed(house.lease(worker)))
    if runs:
        house.lease(worker)
    house.call("DELETE", f"/job/{job}")
    assert counts(house, job) == (1, 0)
