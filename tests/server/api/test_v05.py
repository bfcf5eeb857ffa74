"""What clients of the v0.5 API send and expect, to the letter."""

import hashlib
import io

import pytest
from house import House

from piecework.server.services.tokens.token_acts import create_token


def v05_contract(house: House, worker: str, **fields):
    return house.call("POST", f"/worker/{worker}/contract", {"id": worker, "tags": [], "timeout": 0} | fields)


def upload(house: House, content: bytes) -> str:
    reply = house.client.post("/data", data={"file": (io.BytesIO(content), "blob")})
    return reply.get_json()["id"]


def test_the_loop_of_a_v05_worker(house: House):
    codex, input_ = upload(house, b"code"), upload(house, b"input")
    lambda_ = house.call("POST", "/lambda", {"codex": codex, "runtime": "default"})["id"]
    job = house.call("POST", "/job", {"input": input_, "lambda": lambda_, "tags": []})["id"]
    worker = house.call("POST", "/worker", {"runtime": ["default", "dlabLua"]})
    assert worker == {"code": 0, "status": "ok", "id": worker["id"], "runtime": ["default", "dlabLua"]}
    contract = v05_contract(house, worker["id"])
    assert contract == {"code": 0, "status": "ok", "id": worker["id"], "job": job, "job_id": job}
    info = house.call("GET", f"/job/{job}")
    assert info["lambda"] == {"id": lambda_, "runtime": "default", "codex": codex}
    assert (info["input"], info["state"]) == ({"id": input_}, "Running")
    assert "output" not in info
    assert house.fetch(f"/data/{input_}/blob").data == b"input"
    assert house.fetch(f"/data/{codex}/blob").data == b"code"
    output = upload(house, b"result")
    house.call("POST", f"/job/{job}", {"status": "finished", "output": output})
    info = house.call("GET", f"/job/{job}?except=Finished&timeout=")
    assert (info["state"], info["output"], info["job_output_id"]) == ("Finished", {"id": output}, output)
    assert (info["job_status"], info["job_input_id"], info["functio"]) == ("Finished", input_, lambda_)


def test_no_job_is_code_1299_without_a_job_key(house: House):
    worker = house.new_worker()
    reply = v05_contract(house, worker)
    assert reply == {"code": 1299, "status": "ok", "id": worker, "message": "no job"}


def test_old_names_are_understood_and_answered(house: House):
    worker = house.call("POST", "/worker", {"execulator": ["default"]})
    assert worker["wid"] == worker["id"]
    lambda_ = house.call("POST", "/lambda", {"code_id": "0", "runtime": "default"})["id"]
    job = house.call("POST", "/job", {"functio": lambda_, "input_id": upload(house, b"x"), "extra_tag": ["a"]})
    assert job["jid"] == job["id"]
    body = {"worker_id": worker["id"], "extra_tag": None, "timeout": "0"}
    reply = house.call("POST", f"/worker/{worker['id']}/contract", body)
    assert reply["job"] == job["id"]
    house.call("POST", f"/job/{job['id']}", {"state": "FINISHED", "output": "0"})
    info = house.call("GET", f"/job/{job['id']}")
    assert (info["state"], info["job_output_id"], info["tags"]) == ("Finished", None, ["a"])


def test_replies_to_strict_clients_have_exactly_the_known_fields(house: House):
    codex = upload(house, b"code")
    lambda_ = house.call("POST", "/lambda", {"codex": codex, "runtime": "default"})
    worker = house.new_worker()
    assert set(lambda_) == {"code", "status", "id"}
    assert set(house.call("GET", f"/lambda/{lambda_['id']}")) == {"code", "status", "id", "codex", "runtime"}
    assert set(house.call("GET", f"/worker/{worker}")) == {"code", "status", "id", "runtime"}
    assert set(house.call("GET", f"/data/{codex}")) == {"code", "status", "id", "checksum"}
    job = house.call("POST", "/job", {"lambda": lambda_["id"], "input": codex})
    assert set(job) == {"code", "status", "id"}


def test_everything_is_served_under_the_prefix_too_and_with_stray_slashes(house: House):
    for path in ("/ping", "/api/v0.5/ping", "/api/v0.5//ping", "/ping/", "/api/v0.5/ping/"):
        assert house.call("GET", path)["code"] == 0


def test_content_types_are_exact(house: House):
    blob = upload(house, b"\x00\xff")
    assert house.fetch("/ping").headers["Content-Type"] == "application/json"
    assert house.fetch(f"/data/{blob}/blob").headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "type_", [None, "application/octet-stream", "application/json; charset=utf-8", "text/plain"]
)
def test_json_is_read_whatever_its_type(house: House, type_):
    reply = house.client.post("/worker", data=b'{"runtime": ["default"]}', content_type=type_)
    assert reply.get_json()["runtime"] == ["default"]


def test_a_get_with_a_json_body_ignores_it(house: House):
    job = house.submit(house.new_lambda())
    assert house.call("GET", f"/job/{job}", {"job_id": job})["id"] == job


def test_a_worker_without_runtimes_offers_default(house: House):
    assert house.call("POST", "/worker", {"runtime": []})["runtime"] == ["default"]


def test_a_missing_blob_answers_601_with_the_known_message(house: House):
    reply = house.call("GET", "/data/424242/blob", status=404)
    assert reply == {"code": 601, "status": "error", "message": "BLOB data object is not exist"}


def test_a_lambdas_id_serves_its_code(house: House):
    lambda_ = house.new_lambda(codex=upload(house, b"the code"))
    assert house.fetch(f"/data/{lambda_}/blob").data == b"the code"


def test_a_lambda_with_a_made_up_codex_is_accepted(house: House):
    assert house.call("GET", f"/lambda/{house.new_lambda(codex='987654')}")["codex"] == "987654"


def test_a_first_lease_is_short_and_a_request_about_the_job_makes_it_long(house: House):
    job, worker = house.submit(house.new_lambda()), house.new_worker()
    v05_contract(house, worker)
    house.clock.forward(14)
    house.call("GET", f"/job/{job}")
    house.clock.forward(590)
    assert house.contract(house.new_worker())["code"] == 1299
    house.clock.forward(20)
    assert house.lease(house.new_worker())["job"] == job


def test_fetching_the_input_confirms_the_lease_too(house: House):
    input_, worker = upload(house, b"x"), house.new_worker()
    job = house.submit(house.new_lambda(), input=input_)
    v05_contract(house, worker)
    house.fetch(f"/data/{input_}/blob")
    house.clock.forward(100)
    house.call("POST", f"/job/{job}", {"status": "finished", "output": "0"})
    assert house.state(job) == "Finished"


def test_a_contract_whose_answer_nobody_read_costs_neither_attempt_nor_budget(house: House):
    job, worker = house.submit(house.new_lambda(), max_attempts=1), house.new_worker()
    for _ in range(8):
        assert v05_contract(house, worker)["job"] == job
        house.clock.forward(16)
    house.move_on()
    info = house.call("GET", f"/job/{job}")
    assert (info["state"], info["attempt"]) == ("Enqueued", 0)


def test_a_result_after_the_job_went_to_an_agent_is_refused(house: House):
    job, old = house.submit(house.new_lambda()), house.new_worker()
    v05_contract(house, old)
    house.clock.forward(16)
    house.lease(house.new_worker())
    reply = house.call("POST", f"/job/{job}", {"status": "finished", "output": "0"}, status=409)
    assert reply["code"] == 902
    assert any(detail.startswith("refused:") for _, detail in house.trace(job))


def test_a_repeated_report_is_harmless(house: House):
    job, worker = house.submit(house.new_lambda()), house.new_worker()
    v05_contract(house, worker)
    for _ in range(2):
        house.call("POST", f"/job/{job}", {"status": "finished", "output": "0"})
    assert [state for state, _ in house.trace(job)] == ["Enqueued", "Running", "Finished"]


def test_a_failure_that_a_v05_worker_reports_is_final(house: House):
    job, worker = house.submit(house.new_lambda()), house.new_worker()
    v05_contract(house, worker)
    house.call("POST", f"/job/{job}", {"status": "failed", "output": "0"})
    info = house.call("GET", f"/job/{job}?except=Finished&timeout=20")
    assert (info["state"], info["job_output_id"]) == ("Fail_Execution", None)


def test_a_failure_is_tried_again_when_the_submitter_asked_for_attempts(house: House):
    job, worker = house.submit(house.new_lambda(), max_attempts=2), house.new_worker()
    v05_contract(house, worker)
    house.call("POST", f"/job/{job}", {"status": "failed"})
    assert house.state(job) == "Waiting"


def test_a_v05_worker_hands_a_job_back_by_setting_it_to_enqueued(house: House):
    job, worker = house.submit(house.new_lambda()), house.new_worker()
    v05_contract(house, worker)
    house.call("POST", f"/job/{job}", {"status": "ready"})
    assert house.state(job) == "Enqueued"
    assert v05_contract(house, worker)["job"] == job


def test_running_is_confirmed_but_never_set_by_an_update(house: House):
    job, worker = house.submit(house.new_lambda()), house.new_worker()
    assert house.call("POST", f"/job/{job}", {"status": "running"}, status=409)["code"] == 904
    v05_contract(house, worker)
    house.call("POST", f"/job/{job}", {"status": "running"})
    house.clock.forward(100)
    house.move_on()
    assert house.state(job) == "Running"


def test_the_input_of_a_waiting_job_can_be_replaced(house: House):
    job, new = house.submit(house.new_lambda(), status="paused"), upload(house, b"new")
    house.call("POST", f"/job/{job}", {"input": new, "status": "enqueued"})
    info = house.call("GET", f"/job/{job}")
    assert (info["state"], info["input"]["id"]) == ("Enqueued", new)
    assert house.call("POST", f"/job/{job}", {"input": "31337"}, status=404)["code"] == 601


@pytest.mark.parametrize(("name", "state"), [("CANCELLED", "Cancelled"), ("Paused", "Paused")])
def test_a_requester_steers_a_waiting_job_in_any_case(house: House, name, state):
    job = house.submit(house.new_lambda())
    house.call("POST", f"/job/{job}", {"status": name})
    assert house.state(job) == state


def test_an_unknown_state_is_refused_by_name(house: House):
    job = house.submit(house.new_lambda())
    assert "dancing" in house.call("POST", f"/job/{job}", {"status": "dancing"}, status=422)["message"]
    assert "dancing" in house.call("GET", f"/job/{job}?except=dancing", status=400)["message"]


def test_a_final_job_cannot_be_resumed(house: House):
    job = house.submit(house.new_lambda())
    house.call("DELETE", f"/job/{job}")
    assert house.call("POST", f"/job/{job}", {"status": "enqueued"}, status=409)["code"] == 904


def test_a_nodes_token_reports_on_jobs_but_does_not_steer_them(house: House):
    worker, running, waiting = (
        house.new_worker(),
        house.submit(house.new_lambda()),
        house.submit(house.new_lambda()),
    )
    v05_contract(house, worker)
    secret = create_token(house.services.database, "node", "worker", house.clock())
    house.clock.forward(2)
    token = {"Authorization": f"Bearer {secret}"}
    for body in ({"status": "cancelled"}, {"status": "paused"}, {"input": "5"}):
        assert house.call("POST", f"/job/{waiting}", body, status=403, headers=token)["code"] == 5
    house.call("POST", f"/job/{running}", {"status": "finished", "output": "0"}, headers=token)


def test_the_blob_with_the_id_of_nothing_is_empty(house: House):
    assert house.fetch("/data/0/blob").data == b""
    assert house.call("GET", "/data/0") == {
        "code": 0,
        "status": "ok",
        "id": "0",
        "checksum": hashlib.sha256(b"").hexdigest(),
    }
    assert house.call("DELETE", "/data/0", status=404)["code"] == 601


def test_fetching_nothing_confirms_no_lease(house: House):
    worker, lambda_ = house.new_worker(), house.new_lambda()
    job = house.call("POST", "/job", {"lambda": lambda_, "input": "0"})["id"]
    assert v05_contract(house, worker)["job"] == job
    house.fetch("/data/0/blob")
    house.clock.forward(16)
    assert house.lease(house.new_worker())["job"] == job
