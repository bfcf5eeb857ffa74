"""Journals of jobs whose lambdas are recorded: kept with the job that they belong to, and gone with it."""

import base64
from io import BytesIO
from typing import Any

import pytest
from house import House, failed, finished

JOURNAL = base64.b64encode(b"a journal").decode()


@pytest.fixture
def worker(house: House) -> str:
    return house.new_worker()


def lease(house: House, worker: str) -> Any:
    [leased] = house.contract(worker)["jobs"]
    return {"job": leased["job"], "lease": leased["lease"]}


def read(house: House, job: str) -> Any:
    return house.call("GET", f"/job/{job}?view=full")


def fetch(house: House, blob: str) -> bytes:
    return bytes(house.fetch(f"/data/{blob}/blob").data)


def upload(house: House, data: bytes) -> str:
    return str(house.client.post("/data", data={"file": (BytesIO(data), "f")}).get_json()["id"])


def test_a_lambda_is_recorded_or_deterministic(house: House):
    made = house.new_lambda(record=True)
    assert house.call("GET", f"/lambda/{made}?view=full")["record"] is True
    assert "record" not in house.call("GET", f"/lambda/{house.new_lambda()}?view=full")
    refused = house.call("POST", "/lambda", {"codex": "0", "runtime": "x", "record": True, "deterministic": True},
                         status=422)  # fmt: skip
    assert refused["message"] == (
        "a lambda has one of `deterministic`, which keeps everything from outside away, and `record`, "
        "which writes it down"
    )


def test_a_worker_is_told_to_record(house: House, worker: str):
    house.submit(house.new_lambda(record=True))
    [described] = house.contract(worker)["lambdas"]
    assert described["record"] is True
    house.submit(house.new_lambda())
    assert "record" not in house.contract(worker)["lambdas"][0]


@pytest.mark.parametrize("small", [True, False])
def test_a_journal_is_kept_with_its_job_and_goes_with_it(house: House, worker: str, small: bool):
    job = house.submit(house.new_lambda(record=True))
    journal: Any = {"base64": JOURNAL} if small else upload(house, b"a journal")
    house.finish(worker, finished(lease(house, worker)) | {"journal": journal})
    blob = read(house, job)["journal"]
    assert fetch(house, blob) == b"a journal"
    assert "journal" not in house.call("GET", f"/job/{job}")
    house.services.data.sweep()
    assert fetch(house, blob) == b"a journal"
    house.services.removal.remove([int(job)])
    if small:
        assert house.fetch(f"/data/{blob}/blob").status_code == 404


def test_the_journal_of_a_failed_attempt_is_kept_only_of_the_last(house: House, worker: str):
    job = house.submit(house.new_lambda(record=True), max_attempts=2, backoff={"base_s": 0})
    first = upload(house, b"first")
    house.finish(worker, failed(lease(house, worker)) | {"journal": first})
    assert "journal" not in read(house, job)
    house.finish(worker, failed(lease(house, worker)) | {"journal": {"base64": JOURNAL}})
    info = read(house, job)
    assert info["state"] == "Fail_Execution"
    assert fetch(house, info["journal"]) == b"a journal"
    house.call("POST", "/job/bulk", {"action": "retry", "ids": [job]})
    assert "journal" not in read(house, job)
    house.finish(worker, finished(lease(house, worker)) | {"journal": upload(house, b"again")})
    assert fetch(house, read(house, job)["journal"]) == b"again"


@pytest.mark.parametrize(
    ("journal", "message"),
    [
        ({"job": "5"}, "the journal of job {job} is wrong: it is bytes or a blob"),
        ({"text": "a", "base64": "YQ=="}, "the journal of job {job} is wrong"),
        ({}, "the journal of job {job} is wrong: inline content has exactly one of"),
    ],
)
def test_a_journal_that_is_none_is_refused(house: House, worker: str, journal: Any, message: str):
    job = house.submit(house.new_lambda(record=True))
    body = {"outcomes": [finished(lease(house, worker)) | {"journal": journal}]}
    refused = house.call("POST", f"/worker/{worker}/finish", body, status=422)
    assert message.format(job=job) in refused["message"]


def test_a_journal_that_is_no_blob_is_not_taken(house: House, worker: str):
    house.submit(house.new_lambda(record=True))
    outcome = finished(lease(house, worker)) | {"journal": "91322632795848775"}
    reply = house.call("POST", f"/worker/{worker}/finish", {"outcomes": [outcome]}, status=None)
    assert reply["acks"][0]["message"] == "there is no blob 91322632795848775"
