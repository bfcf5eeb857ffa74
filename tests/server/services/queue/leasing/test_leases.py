"""Leases: who owns a job, until when, and what happens when time passes."""

import pytest
from house import House, failed, finished


def test_a_contract_runs_a_job_and_a_finish_ends_it(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    assert lease["job"] == job
    assert house.state(job) == "Running"
    assert house.finish(worker, finished(lease, "done"))["acks"][0]["code"] == 0
    info = house.call("GET", f"/job/{job}?output=inline")
    assert (info["state"], info["output"]["text"], info["worker"]) == ("Finished", "done", worker)


def test_a_worker_is_told_which_attempt_it_makes(house: House):
    worker = house.new_worker()
    house.submit(house.new_lambda(), max_attempts=3, backoff={"kind": "none"})
    ends = ["guest", "handed back", "worker", "guest", "guest"]
    told = []
    for end in ends:
        [leased] = house.contract(worker)["jobs"]
        told.append(leased["attempt"])
        lease = {"job": leased["job"], "lease": leased["lease"]}
        house.finish(worker, {**lease, "state": "Enqueued"} if end == "handed back" else failed(lease, end))
    assert told == [1, 2, 2, 3, 4], "what was handed back was none"
    assert house.contract(worker)["jobs"] == []


def test_a_finish_after_another_worker_has_the_job_is_refused_and_traced(house: House):
    job = house.submit(house.new_lambda())
    slow, quick = house.new_worker(), house.new_worker()
    old = house.lease(slow)
    house.clock.forward(16)
    new = house.lease(quick)
    assert new["job"] == job
    assert new["lease"] != old["lease"]
    reply = house.finish(slow, finished(old, "late"), status=409)
    assert reply["code"] == 902
    house.finish(quick, finished(new, "right"))
    assert house.call("GET", f"/job/{job}?output=inline")["output"]["text"] == "right"
    states = [state for state, _ in house.trace(job)]
    assert states == ["Enqueued", "Running", "Enqueued", "Running", "Running", "Finished"]
    assert house.trace(job)[4][1].startswith("refused: Finished")


def test_a_finish_after_the_lease_time_counts_while_nobody_else_has_the_job(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    house.clock.forward(60)
    house.finish(worker, finished(lease))
    assert house.state(job) == "Finished"


def test_a_repeated_outcome_is_acknowledged_and_changes_nothing(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    house.finish(worker, finished(lease, "first"))
    house.finish(worker, finished(lease, "second"))
    assert house.call("GET", f"/job/{job}?output=inline")["output"]["text"] == "first"
    assert [state for state, _ in house.trace(job)].count("Finished") == 1


def test_the_same_outcome_twice_in_one_request_is_accepted_once(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    reply = house.finish(worker, finished(lease, "a"), finished(lease, "b"))
    assert [ack["code"] for ack in reply["acks"]] == [0, 0]
    assert house.call("GET", f"/job/{job}?output=inline")["output"]["text"] == "a"


def test_an_outcome_under_another_workers_lease_is_refused(house: House):
    job = house.submit(house.new_lambda())
    owner, thief = house.new_worker(), house.new_worker()
    lease = house.lease(owner)
    assert house.finish(thief, finished(lease), status=409)["code"] == 902
    assert house.state(job) == "Running"


def test_one_stale_outcome_does_not_stop_the_others_of_its_request(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_)
    good = house.lease(worker)
    reply = house.finish(worker, {**finished(good), "lease": "stale"}, finished(good))
    assert [ack["code"] for ack in reply["acks"]] == [902, 0]
    assert house.state(good["job"]) == "Finished"


def test_heartbeats_keep_a_lease_alive(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    for _ in range(5):
        house.clock.forward(10)
        reply = house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lease]})
        assert [one["job"] for one in reply["leases"]] == [job]
    assert house.contract(house.new_worker())["code"] == 1299


def test_a_heartbeat_names_lost_and_cancelled_jobs(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_)
    house.submit(lambda_)
    lost, cancelled = house.lease(worker), house.lease(worker)
    house.call("DELETE", f"/job/{cancelled['job']}")
    house.clock.forward(16)
    house.lease(house.new_worker())
    reply = house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lost, cancelled]})
    assert (reply["leases"], reply["lost"], reply["cancel"]) == ([], [lost["job"]], [cancelled["job"]])


def test_a_vanished_worker_costs_no_attempt_but_has_a_budget(house: House):
    job = house.submit(house.new_lambda(), max_attempts=1)
    for _ in range(4):
        assert house.lease(house.new_worker())["job"] == job
        house.clock.forward(16)
    assert house.contract(house.new_worker())["code"] == 1299
    info = house.call("GET", f"/job/{job}")
    assert (info["state"], info["error"]["kind"]) == ("Fail_Execution", "worker")
    assert "4 workers vanished" in info["error"]["message"]


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 4])
def test_a_job_that_takes_workers_down_takes_no_others_with_it(house: House, slots: int):
    """Which of the jobs that a vanished worker held is to blame is not known, and agents hold many ahead."""
    lambda_ = house.new_lambda()
    deadly, *others = [house.submit(lambda_) for _ in range(30)]
    for _ in range(60):
        worker = house.new_worker(slots=slots)
        leased = house.contract(worker, max=100).get("jobs", [])
        if any(each["job"] == deadly for each in leased):
            house.clock.forward(16)
        else:
            house.finish(worker, *(finished({"job": each["job"], "lease": each["lease"]}) for each in leased))
    assert {house.state(job) for job in others} == {"Finished"}
    assert "4 workers vanished" in house.call("GET", f"/job/{deadly}")["error"]["message"]


def test_a_worker_holds_only_few_jobs_that_lost_theirs(house: House):
    lambda_, lost = house.new_lambda(), house.new_worker()
    for _ in range(5):
        house.submit(lambda_)
    assert len(house.contract(lost, max=9)["jobs"]) == 5
    house.clock.forward(16)
    fresh = house.submit(lambda_)
    worker = house.new_worker(slots=2)
    first, second, new = house.contract(worker, max=9)["jobs"]
    assert new["job"] == fresh
    assert house.contract(worker, max=9)["code"] == 1299
    house.finish(worker, finished({"job": first["job"], "lease": first["lease"]}))
    assert len(house.contract(worker, max=9)["jobs"]) == 1
    assert second["attempt"] == 2


def test_a_job_that_no_worker_can_run_fails_when_the_budget_for_workers_is_spent(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda(), backoff={"kind": "none"})
    for _ in range(4):
        house.finish(worker, failed(house.lease(worker), "worker", "the disk is full"))
    info = house.call("GET", f"/job/{job}")
    assert (info["state"], info["attempt"], info["error"]["kind"]) == ("Fail_Execution", 4, "worker")


def test_the_timekeeper_rescues_without_any_contract(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    house.lease(worker)
    house.clock.forward(16)
    house.move_on()
    assert house.state(job) == "Enqueued"


def test_a_new_start_of_a_worker_gives_its_old_jobs_back_at_once(house: House):
    job = house.submit(house.new_lambda())
    worker = house.new_worker(incarnation="one")
    old = house.lease(worker, incarnation="one")
    new = house.lease(worker, incarnation="two")
    assert new["job"] == job
    assert house.finish(worker, finished(old), status=409)["code"] == 902


def test_a_new_start_of_a_worker_is_given_what_waits(house: House):
    worker = house.new_worker(incarnation="one")
    job = house.submit(house.new_lambda())
    assert house.lease(worker, incarnation="two")["job"] == job


def test_a_retired_workers_jobs_are_available_at_once(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    house.lease(worker)
    house.call("DELETE", f"/worker/{worker}")
    assert house.lease(house.new_worker())["job"] == job
    reply = house.call("POST", f"/worker/{worker}/contract", {"max": 1}, status=404)
    assert reply["code"] == 802


def test_an_unknown_worker_is_told_to_register(house: House):
    reply = house.call("POST", "/worker/12345/contract", {"max": 1}, status=404)
    assert (reply["code"], reply["status"]) == (801, "error")


def test_a_handed_back_job_costs_no_attempt(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda(), max_attempts=1)
    for _ in range(3):
        house.finish(worker, {**house.lease(worker), "state": "Enqueued"})
    assert house.call("GET", f"/job/{job}")["attempt"] == 0
    house.finish(worker, finished(house.lease(worker)))
    assert house.state(job) == "Finished"


def test_a_draining_worker_gets_nothing_and_is_told(house: House):
    worker = house.new_worker()
    house.submit(house.new_lambda())
    house.call("POST", f"/worker/{worker}/drain")
    reply = house.contract(worker)
    assert (reply["drain"], reply["jobs"]) == (True, [])


def test_outcomes_and_the_next_jobs_travel_in_one_exchange(house: House):
    lambda_, worker = house.new_lambda(), house.new_worker()
    jobs = [house.submit(lambda_, input={"text": str(n)}) for n in range(5)]
    first = house.contract(worker, max=3, inline_max_bytes=100)["jobs"]
    assert [job["input"]["text"] for job in first] == ["0", "1", "2"]
    outcomes = [finished({"job": job["job"], "lease": job["lease"]}) for job in first]
    second = house.contract(worker, max=3, outcomes=outcomes)
    assert [ack["code"] for ack in second["acks"]] == [0, 0, 0]
    assert [job["job"] for job in second["jobs"]] == jobs[3:]
    assert [house.state(job) for job in jobs] == ["Finished"] * 3 + ["Running"] * 2


def test_a_failed_job_waits_longer_each_time_and_then_fails_for_good(house: House):
    worker = house.new_worker()
    job = house.submit(house.new_lambda(), max_attempts=3, backoff={"base_s": 10, "cap_s": 15})
    waits = []
    for _ in range(2):
        house.finish(worker, failed(house.lease(worker)))
        info = house.call("GET", f"/job/{job}")
        assert info["state"] == "Waiting"
        waits.append(info["due_at"] - house.clock() / 1000)
        assert house.contract(worker)["code"] == 1299
        house.clock.forward(waits[-1])
    assert 5 <= waits[0] <= 10
    assert 7.5 <= waits[1] <= 15
    house.finish(worker, failed(house.lease(worker), message="boom"))
    info = house.call("GET", f"/job/{job}")
    assert (info["state"], info["attempt"], info["error"]["message"]) == ("Fail_Execution", 3, "boom")


def test_backoff_none_tries_again_at_once_and_fixed_waits_the_same(house: House):
    worker, lambda_ = house.new_worker(), house.new_lambda()
    job = house.submit(lambda_, backoff={"kind": "none"})
    house.finish(worker, failed(house.lease(worker)))
    assert house.state(job) == "Enqueued"
    house.finish(worker, finished(house.lease(worker)))
    job = house.submit(lambda_, backoff={"kind": "fixed", "base_s": 7})
    house.finish(worker, failed(house.lease(worker)))
    assert house.call("GET", f"/job/{job}")["due_at"] == house.clock() / 1000 + 7


def test_what_can_never_succeed_is_not_tried_again(house: House):
    worker = house.new_worker()
    job = house.submit(house.new_lambda())
    house.finish(worker, failed(house.lease(worker), "load"))
    assert house.state(job) == "Fail_Execution"
    job = house.submit(house.new_lambda(deterministic=True))
    house.finish(worker, failed(house.lease(worker), "trap"))
    assert house.state(job) == "Fail_Execution"


def test_retry_on_names_the_errors_worth_another_attempt(house: House):
    worker, lambda_ = house.new_worker(), house.new_lambda()
    job = house.submit(lambda_, retry_on=["timeout"])
    house.finish(worker, failed(house.lease(worker), "guest"))
    assert house.state(job) == "Fail_Execution"
    job = house.submit(lambda_, retry_on=["timeout"])
    house.finish(worker, failed(house.lease(worker), "timeout"))
    assert house.state(job) == "Waiting"


def test_a_worker_that_shuts_down_costs_no_attempt(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda(), max_attempts=1, backoff={"kind": "none"})
    house.finish(worker, failed(house.lease(worker), "worker"))
    assert house.state(job) == "Enqueued"
    house.finish(worker, failed(house.lease(worker), "guest"))
    assert house.state(job) == "Fail_Execution"


def test_an_outcome_that_names_a_missing_output_is_refused_and_the_job_goes_on(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    reply = house.finish(worker, {**lease, "state": "Finished", "output": "77"}, status=409)
    assert reply["acks"][0]["code"] == 601
    house.finish(worker, finished(lease))
    assert house.state(job) == "Finished"


def test_logs_arrive_while_the_job_runs_and_are_replaced_at_its_end(house: House):
    worker, job = house.new_worker(), house.submit(house.new_lambda())
    lease = house.lease(worker)
    parts = ({"log": "YWJj", "offset": 0}, {"log": "Y2Rl", "offset": 2})
    for part in parts:
        house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lease], "logs": [{**lease, **part}]})
    assert house.call("GET", f"/job/{job}/log")["text"] == "abcde"
    assert house.call("GET", f"/job/{job}/log?offset=3")["text"] == "de"
    assert house.call("GET", f"/job/{job}/log?offset=3&attempt=1")["text"] == "de"
    assert house.call("GET", f"/job/{job}/log?offset=3&attempt=0")["text"] == "abcde"
    house.finish(worker, {**finished(lease), "log": "ZW5k", "log_offset": 7})
    log = house.call("GET", f"/job/{job}/log")
    assert (log["text"], log["offset"], log["next"], log["state"]) == ("end", 7, 10, "Finished")
