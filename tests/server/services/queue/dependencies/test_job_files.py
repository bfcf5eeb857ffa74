"""Outputs of jobs that others get as files: told to workers that know how to give them."""

from typing import Any

import pytest
from house import House, failed, finished


def submit_pair(house: House, **more: Any) -> list[str]:
    lambda_ = house.new_lambda()
    jobs = [{"lambda": lambda_}, {"lambda": lambda_, "inputs": {"a.txt": "@0"}, **more}]
    ids: list[str] = house.call("POST", "/job", {"jobs": jobs})["ids"]
    return ids


def lease_next(house: House, worker: str) -> Any:
    [leased] = house.contract(worker, tags=["inputs"])["jobs"]
    return leased


def end_next(house: House, worker: str, output: str | None = "made") -> str:
    lease = house.lease(worker)
    house.finish(worker, {**lease, "state": "Finished"} if output is None else finished(lease, output))
    return lease["job"]


def test_a_contract_tells_the_files_of_a_job(house: House):
    worker, ids = house.new_worker(), submit_pair(house)
    end_next(house, worker)
    leased = lease_next(house, worker)
    [file] = leased["files"]
    assert (leased["job"], file["name"], file["size"]) == (ids[1], "a.txt", 4)
    assert house.fetch(f"/data/{file['blob']}/blob").data == b"made"
    assert len(file["checksum"]) == 64
    assert house.call("GET", f"/job/{ids[1]}?view=full")["inputs"] == [{"name": "a.txt", "job": ids[0]}]


def test_a_parent_without_output_gives_an_empty_file(house: House):
    worker, _ = house.new_worker(), submit_pair(house)
    end_next(house, worker, None)
    assert lease_next(house, worker)["files"] == [{"name": "a.txt", "blob": "0", "checksum": "", "size": 0}]


def test_a_parent_that_failed_gives_none(house: House):
    worker, _ = house.new_worker(), submit_pair(house, on_failure="run")
    house.finish(worker, failed(house.lease(worker), "load"))
    assert "files" not in lease_next(house, worker)


def test_only_who_gives_jobs_files_is_given_such_jobs(house: House):
    worker, ids = house.new_worker(), submit_pair(house)
    end_next(house, worker)
    assert house.contract(worker)["jobs"] == []
    assert "job" not in house.call("POST", f"/worker/{worker}/contract", {"timeout": 0})
    assert house.call("GET", f"/job/{ids[1]}?view=full")["waits_for"] == "no_worker"
    assert lease_next(house, worker)["job"] == ids[1]


def test_our_agents_are_counted_as_those_who_do(house: House):
    worker, ids = house.new_worker(agent_version="1"), submit_pair(house)
    end_next(house, worker)
    assert "waits_for" not in house.call("GET", f"/job/{ids[1]}?view=full")


def test_a_blob_that_a_job_gets_stays_while_the_job_does(house: House):
    worker, ids = house.new_worker(), submit_pair(house)
    end_next(house, worker)
    assert house.services.removal.remove([int(ids[0])]) == [int(ids[0])]
    [file] = lease_next(house, worker)["files"]
    assert house.fetch(f"/data/{file['blob']}/blob").data == b"made"


def test_files_and_the_input_may_come_from_one_job(house: House):
    worker, ids = house.new_worker(), submit_pair(house, input={"job": "@0"}, after=["@0"])
    end_next(house, worker)
    leased = lease_next(house, worker)
    assert leased["input"]["id"] == leased["files"][0]["blob"]
    assert len(house.call("GET", f"/job/{ids[1]}?view=full")["inputs"]) == 2


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"../a": "@0"}, "the file '../a'"),
        ({".a": "@0"}, "begins with none of - and ."),
        ({"-": "@0"}, "begins with none of - and ."),
        ({"a": "@0", "b": "@0"}, "one job's output twice"),
        ({f"f{number}": "@0" for number in range(101)}, "at most 100"),
        ({"a": "@9"}, "the last of this submission is @1"),
        (["@0"], "inputs"),
    ],
)
def test_files_that_cannot_be(house: House, inputs: Any, said: str):
    lambda_ = house.new_lambda()
    jobs = [{"lambda": lambda_}, {"lambda": lambda_, "inputs": inputs}]
    assert said in house.call("POST", "/job", {"jobs": jobs}, status=422)["message"]
