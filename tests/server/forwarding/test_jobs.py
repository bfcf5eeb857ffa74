"""Calls of functions that nothing serves: they run as jobs."""

import base64
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from house import House, failed, finished
from patience import PATIENCE_S, until
from werkzeug.test import TestResponse

from piecework.http.exchange import Request, Response, read_request, write_response
from piecework.server.services.tokens.token_acts import create_token
from piecework.server.store.functions import functions
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.stock.quotas import Quota

Pending = Future[TestResponse]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def deploy(house: House, **fields: Any) -> None:
    """Add the function hola with a revision that nothing serves, and a lambda for it."""
    lambda_id = int(house.new_lambda(mode="http", **fields))
    now = house.clock()

    def add(connection: Any) -> None:
        functions.add_function(connection, "hola", now)
        functions.add_revision(connection, functions.Revision("hola", "default", lambda_id, None, 0, now))

    house.services.database.write(add)
    house.services.routing.note_change()


def begin(pool: ThreadPoolExecutor, house: House, path: str = "hola", method: str = "GET", **more: Any) -> Pending:
    return pool.submit(house.app.test_client().open, f"/functions/{path}", method=method, buffered=True, **more)


def lease(house: House, worker: str) -> tuple[dict[str, str], Request]:
    """Contract the call's job; return its lease and the request that it carries."""
    jobs: list[Any] = []

    def contracted() -> bool:
        jobs.extend(house.contract(worker, inline=True)["jobs"])
        return bool(jobs)

    until(contracted)
    [job] = jobs
    blob = house.fetch(f"/data/{house.call('GET', '/job/' + job['job'])['input']['id']}/blob")
    return {"job": job["job"], "lease": job["lease"]}, read_request(blob.data)


def answered(lease: dict[str, str], response: Response) -> dict[str, Any]:
    envelope = base64.b64encode(write_response(response)).decode()
    return finished(lease) | {"output": {"base64": envelope}}


def test_a_call_runs_as_a_job_and_its_output_is_the_answer(house: House, pool: ThreadPoolExecutor):
    worker = house.new_worker()
    deploy(house)
    body, headers = bytes(range(256)), {"X-Mine": "1", "Connection": "close", "Authorization": "Bearer pw_x"}
    pending = begin(pool, house, "hola/a%20b?q=1", "POST", data=body, headers=headers)
    taken, request = lease(house, worker)
    assert (request.method, request.uri, request.body) == ("POST", "/a%20b?q=1", body)
    names = {name.lower(): value for name, value in request.headers}
    assert (names["x-mine"], names["x-forwarded-host"]) == ("1", "localhost")
    assert not names.keys() & {"connection", "authorization"}
    fields = (("X-Theirs", "2"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Connection", "close"))
    house.finish(worker, answered(taken, Response(201, fields, b"\xffdone")))
    response = pending.result(PATIENCE_S)
    assert (response.status_code, response.data) == (201, b"\xffdone")
    assert (response.headers["X-Theirs"], response.headers["Piecework-Job"]) == ("2", taken["job"])
    assert response.headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert "Connection" not in response.headers
    counted = house.services.calls.read("hola", "default")
    assert counted is not None
    assert (counted.calls, counted.jobs, counted.errors) == (1, 1, 0)


def test_a_failure_of_the_function_is_told_with_its_reason_and_not_tried_again(
    house: House, pool: ThreadPoolExecutor
):
    worker = house.new_worker()
    deploy(house)
    pending = begin(pool, house)
    taken, _ = lease(house, worker)
    house.finish(worker, failed(taken, "trap", "unreachable executed"))
    response = pending.result(PATIENCE_S)
    assert response.status_code == 500
    assert response.json["code"] == "FUNCTION_FAILED"
    assert f"job {taken['job']}" in response.json["message"]
    assert "unreachable executed" in response.json["message"]
    assert response.headers["Piecework-Job"] == taken["job"]


def test_an_output_that_is_no_answer_is_a_bad_gateway(house: House, pool: ThreadPoolExecutor):
    worker = house.new_worker()
    deploy(house)
    pending = begin(pool, house)
    taken, _ = lease(house, worker)
    house.finish(worker, finished(taken, "plain text"))
    response = pending.result(PATIENCE_S)
    assert (response.status_code, response.json["code"]) == (502, "BAD_GATEWAY")


def test_head_gets_the_length_of_what_get_would(house: House, pool: ThreadPoolExecutor):
    worker = house.new_worker()
    deploy(house)
    pending = begin(pool, house, method="HEAD")
    taken, request = lease(house, worker)
    assert request.method == "HEAD"
    house.finish(worker, answered(taken, Response(200, (), b"12345")))
    response = pending.result(PATIENCE_S)
    assert (response.data, response.headers["Content-Length"]) == (b"", "5")


@pytest.mark.parametrize("size", [3, 100_000])
def test_a_call_whose_replicas_have_all_gone_runs_as_a_job(house: House, pool: ThreadPoolExecutor, size: int):
    worker = house.new_worker()
    deploy(house)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    house.services.functions.add_url("hola", "default", url)
    for _ in range(2):  # the second one knows already that nobody is there
        pending = begin(pool, house, method="POST", data=bytes(size))
        taken, request = lease(house, worker)
        assert (request.method, request.body) == ("POST", bytes(size))
        house.finish(worker, answered(taken, Response(200, (), b"done")))
        assert pending.result(PATIENCE_S).data == b"done"
    assert not house.services.health.is_well(url)
    assert house.services.calls.read("hola", "default").jobs == 2


def test_without_an_agent_that_could_run_it_a_call_fails_at_once(house: House):
    deploy(house, runtime="wasi+net")
    house.new_worker("wasi")
    response = house.client.get("/functions/hola")
    assert (response.status_code, response.json["code"]) == (503, "UNAVAILABLE")
    assert "no worker that was heard of lately offers the runtime wasi+net" in response.json["message"]
    assert house.state(response.headers["Piecework-Job"]) == "Cancelled"


@pytest.mark.slow
def test_a_call_whose_job_does_not_end_in_time_is_told_its_id(tmp_path: Path):
    house = House(tmp_path, settings={"call_timeout_s": 0.1})
    house.new_worker()
    deploy(house)
    response = house.client.get("/functions/hola")
    job = response.headers["Piecework-Job"]
    assert (response.status_code, response.json["code"]) == (504, "GATEWAY_TIMEOUT")
    assert f"job {job}" in response.json["message"]
    house.clock.forward(1)
    house.move_on()
    assert house.state(job) == "Cancelled"  # nobody waits for it any more, and it had not begun
    house.close()


def test_a_body_that_fits_into_no_job_is_refused(tmp_path: Path):
    house = House(tmp_path, settings={"body_max_bytes": 1000})
    house.new_worker()
    deploy(house)
    response = house.client.post("/functions/hola", data=b"x" * 1001)
    assert (response.status_code, response.json["code"]) == (413, "TOO_LARGE")
    assert house.call("GET", "/job")["jobs"] == []
    house.close()


def test_a_server_that_stops_lets_go_of_calls_that_wait(house: House, pool: ThreadPoolExecutor):
    house.new_worker()
    deploy(house)
    pending = begin(pool, house)
    until(lambda: len(house.services.watch) == 1)
    house.services.release_waiters()
    response = pending.result(PATIENCE_S)
    assert (response.status_code, response.json["code"]) == (503, "STOPPING")
    [job] = house.call("GET", "/job")["jobs"]
    assert job["state"] == "Cancelled", "who calls again must not have it done twice"


def test_a_call_that_has_begun_when_its_server_stops_is_told_so(house: House, pool: ThreadPoolExecutor):
    worker = house.new_worker()
    deploy(house)
    pending = begin(pool, house)
    taken, _ = lease(house, worker)
    house.services.release_waiters()
    response = pending.result(PATIENCE_S)
    assert (response.status_code, response.json["code"]) == (502, "BAD_GATEWAY")
    assert "may have acted" in response.json["message"]
    assert response.headers["Piecework-Job"] == taken["job"]
    [job] = house.call("GET", "/job")["jobs"]
    assert job["state"] == "Running"


def test_a_call_for_whose_end_too_many_wait_already_is_not_carried_out_later(
    tmp_path: Path, pool: ThreadPoolExecutor
):
    house = House(tmp_path, settings={"waiters_max": 1})
    worker = house.new_worker()
    deploy(house)
    first = begin(pool, house)
    until(lambda: len(house.services.watch) == 1)
    response = house.client.get("/functions/hola")
    assert (response.status_code, response.json["code"]) == (429, "BUSY")
    taken, _ = lease(house, worker)
    house.finish(worker, answered(taken, Response()))
    assert first.result(PATIENCE_S).status_code == 200
    assert [job["state"] for job in house.call("GET", "/job")["jobs"]] == ["Cancelled", "Finished"]
    house.close()


def test_calls_that_become_jobs_count_towards_the_quota_of_the_callers_token(
    house: House, pool: ThreadPoolExecutor
):
    deploy(house)
    house.new_worker()
    quota = Quota(lambdas=("hola",), rate=1, period_ms=60_000)
    secret = create_token(house.services.database, "shop", "invoke", house.clock(), quota=quota)
    house.clock.forward(2)
    caller = {"Authorization": f"Bearer {secret}"}
    first = begin(pool, house, headers=caller)
    until(lambda: house.services.jobs.count_states(JobFilter(submitter="shop")))
    refused = house.client.get("/functions/hola", headers=caller)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert "may submit 1 jobs in 60 s" in refused.get_json()["message"]
    other = house.client.get("/functions/ciao", headers=caller)
    assert (other.status_code, other.get_json()["message"]) == (
        403,
        "the token shop may use hola, not function ciao",
    )
    house.services.release_waiters()
    assert first.result(PATIENCE_S).status_code == 503


def test_the_job_of_a_call_tells_whose_token_the_caller_showed(house: House, pool: ThreadPoolExecutor):
    deploy(house)
    worker = house.new_worker()
    database, now = house.services.database, house.clock()
    caller = {"Authorization": f"Bearer {create_token(database, 'shop', 'invoke', now)}"}
    admin = {"Authorization": f"Bearer {create_token(database, 'root', 'admin', now)}"}
    house.clock.forward(2)
    call = begin(pool, house, headers=caller)
    jobs: list[Any] = []
    body = {"max": 1, "timeout": 0}
    until(
        lambda: jobs.extend(house.call("POST", f"/worker/{worker}/contract", body, headers=admin)["jobs"]) or jobs
    )
    [job] = jobs
    assert house.call("GET", f"/job/{job['job']}?view=full", headers=admin)["submitter"] == "shop"
    outcome = answered({"job": job["job"], "lease": job["lease"]}, Response(200, (), b"ok"))
    house.call("POST", f"/worker/{worker}/finish", {"outcomes": [outcome]}, headers=admin)
    assert call.result(PATIENCE_S).data == b"ok"
