"""Submitting: options, idempotency, order, and what is refused."""

import pytest
from house import House, failed, finished


def test_bulk_submission_keeps_the_order_and_all_jobs_run(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    body = {"jobs": [{"lambda": lambda_, "input": {"text": str(n)}} for n in range(20)]}
    ids = house.call("POST", "/job", body)["ids"]
    leased = house.contract(worker, max=20, inline_max_bytes=10)["jobs"]
    assert [(job["job"], job["input"]["text"]) for job in leased] == [(id_, str(n)) for n, id_ in enumerate(ids)]


def test_one_wrong_job_in_a_bulk_stores_none(house: House):
    lambda_ = house.new_lambda()
    body = {"jobs": [{"lambda": lambda_}, {"lambda": lambda_, "input": "424242"}]}
    assert house.call("POST", "/job", body, status=404)["code"] == 601
    assert house.call("GET", "/job")["jobs"] == []


def test_the_same_key_and_content_is_the_same_job(house: House):
    lambda_ = house.new_lambda()
    first = house.submit(lambda_, key="order-1", priority=3)
    assert house.submit(lambda_, key="order-1", priority=3) == first
    assert len(house.call("GET", "/job")["jobs"]) == 1


def test_the_same_key_with_other_content_is_a_conflict(house: House):
    lambda_ = house.new_lambda()
    house.submit(lambda_, key="order-1")
    for other in ({"priority": 1}, {"input": {"text": "y"}}, {"timeout_s": 9}, {"tags": ["a"]}):
        body = {"lambda": lambda_, "input": {"text": "x"}, "key": "order-1"} | other
        assert house.call("POST", "/job", body, status=409)["code"] == 903


def test_an_input_that_is_uploaded_again_is_the_same_content(house: House):
    lambda_ = house.new_lambda()
    first, again = (house.services.data.receive([b"x"]).id for _ in range(2))
    job = house.submit(lambda_, key="order-1", input=str(first))
    assert house.submit(lambda_, key="order-1", input=str(again)) == job
    assert house.submit(lambda_, key="order-1", input={"text": "x"}) == job


def test_the_same_key_twice_in_one_bulk_is_one_job(house: House):
    job = {"lambda": house.new_lambda(), "key": "k"}
    ids = house.call("POST", "/job", {"jobs": [job, job]})["ids"]
    assert ids[0] == ids[1]


def test_a_whole_submission_is_repeated_by_its_key(house: House):
    lambda_ = house.new_lambda()
    jobs = [{"lambda": lambda_, "input": {"text": str(n)}} for n in range(3)]
    body = {"key": "batch-1", "jobs": jobs}
    ids = house.call("POST", "/job", body)["ids"]
    assert house.call("POST", "/job", body)["ids"] == ids
    assert len(house.call("GET", "/job")["jobs"]) == 3
    jobs.pop()
    assert house.call("POST", "/job", body, status=409)["code"] == 903
    house.clock.forward(25 * 3600)
    assert not house.services.submission.forget_old_keys(), "there are no more"
    assert house.call("POST", "/job", body)["ids"] != ids[:2]


def test_higher_priority_goes_first_then_age(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    low, high, low2 = (house.submit(lambda_, priority=p) for p in (-5, 5, -5))
    assert [house.lease(worker)["job"] for _ in range(3)] == [high, low, low2]


def test_priorities_count_across_lanes(house: House):
    worker = house.new_worker("default", "wasi")
    plain, wasi = house.new_lambda(), house.new_lambda(runtime="wasi")
    jobs = [house.submit(plain), house.submit(wasi, priority=9), house.submit(plain, priority=4)]
    assert [house.lease(worker)["job"] for _ in range(3)] == [jobs[1], jobs[2], jobs[0]]


def test_a_delayed_job_is_due_later(house: House):
    worker = house.new_worker()
    job = house.submit(house.new_lambda(), delay_s=30)
    assert house.state(job) == "Waiting"
    assert house.contract(worker)["code"] == 1299
    house.clock.forward(30)
    assert house.lease(worker)["job"] == job


def test_run_at_takes_a_time_with_a_zone(house: House):
    job = house.submit(house.new_lambda(), run_at="2099-01-01T00:00:00+01:00")
    assert house.call("GET", f"/job/{job}")["due_at"] == 4070905200.0


def test_a_job_that_is_not_started_before_it_expires_is_cancelled(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    job = house.submit(lambda_, expires_at="2020-01-01T00:00:00Z")
    assert house.contract(worker)["code"] == 1299
    assert house.state(job) == "Cancelled"
    assert house.trace(job)[-1] == ("Cancelled", "not started before it expired")


@pytest.mark.parametrize("ends", ["failed", "lost"])
def test_a_job_that_expires_between_attempts_says_so(house: House, ends: str):
    worker = house.new_worker()
    backoff = {"kind": "fixed", "base_s": 300}
    job = house.submit(house.new_lambda(), expires_at=house.clock() / 1000 + 60, backoff=backoff)
    lease = house.lease(worker)
    if ends == "failed":
        house.finish(worker, failed(lease, message="no bread"))
        why = "failed: no bread"
    else:
        house.clock.forward(16)
        house.move_on()
        why = "was lost with its worker"
    house.clock.forward(60)
    house.move_on()
    assert house.trace(job)[-1] == ("Cancelled", f"expired before attempt 2; attempt 1 {why}")


def test_a_paused_job_waits_until_it_is_resumed(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda(), status="paused")
    assert house.contract(worker)["code"] == 1299
    house.call("POST", f"/job/{job}", {"status": "resumed"})
    assert house.lease(worker)["job"] == job


def test_necessary_and_rejected_tags_bar_workers(house: House):
    lambda_ = house.new_lambda(tags=["+gpu"])
    job = house.submit(lambda_, tags=["-arm"])
    assert house.contract(house.new_worker())["code"] == 1299
    assert house.contract(house.new_worker(tags=["gpu", "arm"]))["code"] == 1299
    assert house.lease(house.new_worker(tags=["gpu"]))["job"] == job


def test_tags_of_a_contract_add_to_the_workers(house: House):
    job = house.submit(house.new_lambda(), tags=["+gpu"])
    worker = house.new_worker()
    assert house.contract(worker)["code"] == 1299
    assert house.lease(worker, tags=["gpu"])["job"] == job


def test_suggested_tags_choose_among_equals_and_never_bar(house: House):
    lambda_ = house.new_lambda()
    plain, fitting = house.submit(lambda_), house.submit(lambda_, tags=["near"])
    worker = house.new_worker(tags=["near"])
    assert [house.lease(worker)["job"] for _ in range(2)] == [fitting, plain]
    far = house.submit(lambda_, tags=["near"])
    assert house.lease(house.new_worker())["job"] == far


def test_a_runtime_with_features_matches_a_worker_that_has_more(house: House):
    job = house.submit(house.new_lambda(runtime="capsule+redis"))
    assert house.contract(house.new_worker("capsule"))["code"] == 1299
    assert house.lease(house.new_worker("capsule+http+redis"))["job"] == job


def test_limits_come_from_the_job_then_the_lambda_then_the_server(house: House):
    lambda_ = house.new_lambda(limits={"timeout_s": 9, "memory_bytes": 1000}, args=["a"], env={"A": "1", "B": "1"})
    house.submit(lambda_, timeout_s=5, env={"B": "2"})
    [job] = house.contract(house.new_worker())["jobs"]
    assert job["limits"]["timeout_s"] == 5
    assert job["limits"]["memory_bytes"] == 1000
    assert job["limits"]["output_bytes"] == house.services.settings.output_bytes
    assert (job["args"], job["env"]) == (["a"], {"A": "1", "B": "2"})


def test_a_job_without_input_has_input_zero(house: House):
    job = house.call("POST", "/job", {"lambda": house.new_lambda()})["id"]
    assert house.call("GET", f"/job/{job}")["input"] == {"id": "0"}
    [leased] = house.contract(house.new_worker())["jobs"]
    assert (leased["input"]["id"], leased["input_checksum"]) == ("0", "")


@pytest.mark.parametrize(
    ("content", "stored"),
    [({"text": "é"}, "é".encode()), ({"base64": "AP8="}, b"\x00\xff"), ({"json": {"a": [1]}}, b'{"a":[1]}')],
)
def test_inline_input_is_a_blob_of_its_own(house: House, content: dict, stored: bytes):
    job = house.submit(house.new_lambda(), input=content)
    blob = house.call("GET", f"/job/{job}")["input"]["id"]
    assert house.client.get(f"/data/{blob}/blob").data == stored


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"lambda": "99"}, 404, "no lambda 99"),
        ({"lambda": "abc"}, 404, "no lambda named 'abc'"),
        ({"lambda": None}, 422, "`lambda`"),
        ({"input": "123456"}, 404, "BLOB data object is not exist"),
        ({"input": {"text": "a", "base64": "YQ=="}}, 422, "exactly one of"),
        ({"input": {}}, 422, "exactly one of"),
        ({"input": {"base64": "%%"}}, 422, "base64"),
        ({"priority": 101}, 422, "<= 100"),
        ({"priority": "high"}, 422, "priority"),
        ({"timeout_s": -1}, 422, "above 0"),
        ({"limits": {"memory_bytes": 0}}, 422, "above 0"),
        ({"delay_s": -5}, 422, ">= 0"),
        ({"max_attempts": 0}, 422, "between 1 and 100"),
        ({"max_attempts": 101}, 422, "between 1 and 100"),
        ({"backoff": {"kind": "sometimes"}}, 422, "sometimes"),
        ({"retry_on": ["rain"]}, 422, "rain"),
        ({"run_at": "tomorrow"}, 422, "run_at"),
        ({"key": ""}, 422, "1 to 255"),
        ({"key": "k" * 256}, 422, "256"),
        ({"tags": ["t"] * 3 + ["u" * 101]}, 422, "100 characters"),
        ({"tags": "gpu"}, 422, "tags"),
        ({"status": "finished"}, 422, "Paused or Enqueued"),
        ({"status": "asleep"}, 422, "no job state"),
        ({"after": ["12345678"]}, 404, "no job or group 12345678"),
        ({"inputs": {"a": "12345678"}}, 404, "no job or group 12345678"),
        ({"group": "a b"}, 422, "group"),
        ({"args": ["x" * 300_000]}, 422, "262144"),
        ({"jobs": [{"lambda": "1"}] * 11}, 422, "at most 10"),
    ],
)
def test_a_wrong_submission_is_refused_with_the_reason_and_stores_nothing(tmp_path, fields, status, says):
    house = House(tmp_path, settings={"bulk_max": 10})
    body = {"lambda": house.new_lambda(), "input": {"text": "x"}} | fields
    reply = house.call("POST", "/job", body, status=status)
    assert says in reply["message"]
    assert reply["status"] == "error"
    assert house.call("GET", "/job")["jobs"] == []
    house.close()


def test_a_job_that_no_worker_can_run_says_so(house: House):
    house.new_worker("default")
    job = house.submit(house.new_lambda(runtime="lua5.4"), tags=["+gpu"])
    advice = house.call("GET", f"/job/{job}?view=full")["advice"]
    assert advice == "no worker that was heard of lately offers the runtime lua5.4 with tags +gpu"
    worker = house.new_worker("lua5.4", tags=["gpu"])
    assert "advice" not in house.call("GET", f"/job/{job}?view=full")
    house.finish(worker, finished(house.lease(worker)))


def test_what_is_submitted_after_alike_jobs_is_what_its_own_words_say(house: House):
    first, other = house.new_lambda(), house.new_lambda()
    told = [
        {"lambda": first, "input": {"text": "1"}, "args": ["a"], "priority": 3},
        {"lambda": first, "input": {"text": "2"}, "args": ["a"], "priority": 3},
        {"lambda": first, "input": {"text": "3"}, "args": ["b"], "priority": 3},
        {"lambda": other, "input": {"text": "4"}, "args": ["b"], "priority": 3},
        {"lambda": other, "input": {"text": "5"}, "args": ["b"], "priority": 3, "delay_s": 60},
        {"lambda": other, "input": {"text": "6"}, "args": ["b"], "priority": 3, "delay_s": 60},
    ]
    ids = []
    for body in told:
        ids.append(house.call("POST", "/job", body)["id"])
        house.clock.forward(10)
    shown = [house.call("GET", f"/job/{id_}?view=full") for id_ in ids]
    assert [each["lambda"]["id"] for each in shown] == [each["lambda"] for each in told]
    assert [each["args"] for each in shown] == [each["args"] for each in told]
    assert shown[5]["due_at"] - shown[4]["due_at"] == pytest.approx(10)
    house.call("DELETE", f"/lambda/{other}?cancel=true")
    assert house.call("POST", "/job", told[3], status=404)["message"]
