"""Work on many jobs at once: which are meant, what is done to them, and how often."""

from typing import Any

import pytest
from house import House, failed, finished

from piecework.server.services.queue.changing import bulk, stepsize
from piecework.server.services.queue.changing.stepsize import StepSize


def fail(house: House, count: int = 1, kind: str = "load", **fields: Any) -> list[str]:
    """Return jobs that failed, all of one lambda unless ``fields`` name it."""
    lambda_id = fields.pop("lambda", None) or house.new_lambda()
    worker = house.new_worker()
    jobs = [house.submit(lambda_id, max_attempts=1, **fields) for _ in range(count)]
    for _ in jobs:
        house.finish(worker, failed(house.lease(worker), kind, "no"))
    assert {house.state(job) for job in jobs} == {"Fail_Execution"}
    return jobs


def work(house: House, action: str, **fields: Any) -> dict[str, Any]:
    """Send requests until all is done; return the sums of what was answered."""
    sums: dict[str, Any] = {"matched": 0, "changed": 0, "refused": {}, "made": {}, "requests": 0}
    cursor = None
    while True:
        reply = house.call("POST", "/job/bulk", {"action": action, "cursor": cursor} | fields)
        for name in ("matched", "changed"):
            sums[name] += reply[name]
        sums["refused"] |= {each["message"]: each["jobs"] for each in reply["refused"]}
        sums["made"] |= {each["job"]: each["made"] for each in reply.get("made", [])}
        sums["requests"] += 1
        if (cursor := reply.get("next")) is None:
            return sums


def lambda_of(house: House, job: str) -> str:
    return str(house.call("GET", f"/job/{job}")["lambda"]["id"])


def full(house: House, job: str) -> dict[str, Any]:
    return dict(house.call("GET", f"/job/{job}?view=full"))


def test_failed_jobs_are_run_again_under_their_ids_with_their_history(house: House):
    jobs = fail(house, 3)
    done = work(house, "retry", where={"state": "failed"})
    assert (done["matched"], done["changed"]) == (3, 3)
    worker = house.new_worker()
    for _ in jobs:
        house.finish(worker, finished(house.lease(worker)))
    for job in jobs:
        info = full(house, job)
        assert (info["state"], info["attempt"], info["max_attempts"]) == ("Finished", 2, 2)
        assert [state for state, _ in house.trace(job)] == [
            "Enqueued", "Running", "Fail_Execution", "Enqueued", "Running", "Finished",
        ]  # fmt: skip
        assert ("Enqueued", "run again") in house.trace(job)


def test_a_job_that_is_run_again_has_all_its_attempts_once_more(house: House):
    [job] = fail(house)
    worker = house.new_worker()
    for round_ in range(2, 4):
        work(house, "retry", ids=[job])
        house.finish(worker, failed(house.lease(worker), "guest"))
        house.clock.forward(400)
        assert full(house, job)["attempt"] == round_
    assert house.state(job) == "Fail_Execution"


def test_what_was_lost_with_workers_is_forgiven_but_not_forgotten(house: House):
    job = house.submit(house.new_lambda())
    worker = house.new_worker()
    for _ in range(house.services.settings.vanished_max + 1):
        house.lease(worker)
        house.clock.forward(60)
        house.move_on()
    assert house.state(job) == "Fail_Execution"
    work(house, "retry", ids=[job])
    stored = house.services.jobs.get(int(job))
    assert (stored.vanished, stored.max_attempts) == (1, stored.attempt - 1 + 3)
    house.lease(worker)
    house.clock.forward(60)
    house.move_on()
    assert house.state(job) == "Enqueued"


def test_a_cancelled_job_is_run_again_when_somebody_says_so(house: House):
    job = house.submit(house.new_lambda(), expires_at="2026-09-22T00:00:00Z")
    house.clock.forward(10 * 24 * 3600)
    house.move_on()
    assert house.state(job) == "Cancelled"
    assert work(house, "retry", where={"lambda": lambda_of(house, job)})["matched"] == 0
    assert work(house, "retry", where={"state": "cancelled"})["changed"] == 1
    assert house.state(job) == "Enqueued"
    house.move_on()
    assert house.state(job) == "Enqueued", "an end that has passed ends it again"


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"kind": "trap"}, 2),
        ({"kind": "trap,timeout"}, 3),
        ({"state": "failed", "since": "1h"}, 4),
        ({"state": "failed", "since": "1m"}, 1),
        ({"state": "failed", "before": "1m"}, 3),
        ({"tag": "red"}, 1),
        ({"tenant": "nobody"}, 0),
    ],
)
def test_jobs_are_chosen_by_what_they_have_in_common(house: House, fields: dict[str, str], count: int):
    fail(house, 2, "trap")
    fail(house, 1, "timeout")
    house.clock.forward(120)
    fail(house, 1, "guest", tags=["red"])
    dry = work(house, "retry", where=fields, dry_run=True)
    assert (dry["matched"], dry["changed"]) == (count, 0)
    assert len(house.call("GET", "/job?state=failed")["jobs"]) == 4
    assert work(house, "retry", where=fields)["changed"] == count
    assert len(house.call("GET", "/job?state=enqueued")["jobs"]) == count


def test_with_changes_a_new_job_is_made_and_linked_both_ways(house: House):
    [job] = fail(house, args=["a"], env={"A": "1"}, priority=7, tags=["own"], timeout_s=5)
    other = house.new_lambda(tags=["new"])
    edit = {"lambda": other, "input": {"text": "y"}, "args": ["b"], "env": {"B": "2"}, "timeout_s": 9}
    made = work(house, "retry", ids=[job], edit=edit)["made"][job]
    assert house.state(job) == "Fail_Execution"
    info = full(house, made)
    assert (info["retry_of"], full(house, job)["run_again_as"]) == (job, [made])
    assert (info["lambda"]["id"], info["priority"], info["tags"]) == (other, 7, ["new", "own"])
    worker = house.new_worker()
    [leased] = house.contract(worker)["jobs"]
    assert (leased["job"], leased["args"], leased["env"]) == (made, ["b"], {"A": "1", "B": "2"})
    assert leased["limits"]["timeout_s"] == 9
    assert house.fetch(f"/data/{leased['input']['id']}/blob").data == b"y"


def test_a_job_that_was_made_anew_is_not_made_twice_by_a_filter(house: House):
    [job] = fail(house)
    edit = {"timeout_s": 9}
    for count in (1, 0):
        assert work(house, "retry", where={"state": "failed"}, edit=edit)["changed"] == count
    assert work(house, "retry", where={"state": "failed"})["matched"] == 0
    assert len(work(house, "retry", ids=[job], edit=edit)["made"]) == 1
    assert len(full(house, job)["run_again_as"]) == 2


def test_the_exit_codes_of_success_are_replaced(house: House):
    job = fail(house, **{"lambda": house.new_lambda(ok_codes=[3])})[0]
    edits: tuple[tuple[dict[str, Any], list[int] | None], ...] = (
        ({"ok_codes": [20, 10, 0]}, [10, 20]),
        ({"timeout_s": 9}, [10, 20]),
        ({"ok_codes": []}, None),
    )
    for edit, codes in edits:
        [job] = work(house, "retry", ids=[job], edit=edit)["made"].values()
        assert full(house, job).get("ok_codes") == codes
        house.call("DELETE", f"/job/{job}")


def test_a_request_about_named_jobs_is_repeated_safely_under_its_key(house: House):
    [job] = fail(house)
    body = {"ids": [job], "edit": {"timeout_s": 9}, "key": "k"}
    assert work(house, "retry", **body) == work(house, "retry", **body)
    assert len(full(house, job)["run_again_as"]) == 1
    other = house.call("POST", "/job/bulk", {"action": "retry", "ids": [job], "key": "k"}, status=409)
    assert "other content" in other["message"]


def test_each_named_job_is_answered_for(house: House):
    [bad], good = fail(house), house.submit(house.new_lambda())
    done = work(house, "retry", ids=[bad, good, "99"])
    assert (done["matched"], done["changed"]) == (2, 1)
    assert done["refused"] == {
        "it is Enqueued: only jobs that failed or were cancelled can be run again": [good],
        "there is no such job": ["99"],
    }
    dry = work(house, "cancel", ids=[bad, good], dry_run=True)
    assert (dry["changed"], house.state(good)) == (2, "Enqueued")


def test_a_job_whose_input_is_gone_is_not_run_again(house: House):
    [job] = fail(house)
    blob = house.call("GET", f"/job/{job}")["input"]["id"]
    house.call("DELETE", f"/data/{blob}")
    assert work(house, "retry", ids=[job])["refused"] == {"its input was deleted": [job]}


def test_jobs_are_paused_resumed_and_cancelled_together(house: House):
    lambda_id = house.new_lambda()
    jobs = [house.submit(lambda_id) for _ in range(3)]
    later = house.submit(lambda_id, delay_s=60)
    for action, states in (
        ("pause", {"Paused"}),
        ("resume", {"Enqueued", "Waiting"}),
        ("cancel", {"Cancelled"}),
    ):
        assert work(house, action, where={"lambda": lambda_id})["changed"] == 4
        assert {house.state(job) for job in (*jobs, later)} == states
    assert house.trace(jobs[0])[-1] == ("Cancelled", "cancelled")
    assert work(house, "cancel", where={"lambda": lambda_id})["matched"] == 0


def test_a_running_job_is_cancelled_with_others_and_its_result_refused(house: House):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    house.submit(lambda_id)
    lease = house.lease(worker)
    assert work(house, "cancel", where={"state": "running"})["changed"] == 1
    [ack] = house.finish(worker, finished(lease), status=409)["acks"]
    assert ack["code"] == 902


def test_only_jobs_that_have_ended_are_deleted(house: House):
    [job], live = fail(house), house.submit(house.new_lambda())
    assert work(house, "delete", where={"since": "1h"})["changed"] == 1
    house.call("GET", f"/job/{job}", status=404)
    done = work(house, "delete", ids=[live, job])
    assert done["changed"] == 0
    assert done["refused"] == {
        "it is Enqueued: only jobs that have ended can be deleted": [live],
        "there is no such job": [job],
    }


def test_what_comes_back_meanwhile_is_left_alone(house: House, monkeypatch: pytest.MonkeyPatch):
    """A job that fails again while others are still to come is not run a third time by the same work."""
    monkeypatch.setattr(bulk, "REQUEST_S", 0)
    monkeypatch.setattr(stepsize, "STEP_FIRST", 2)
    house.services.bulk._size = StepSize()
    jobs = fail(house, 5)
    worker = house.new_worker()
    house.clock.forward(1)
    first = house.call("POST", "/job/bulk", {"action": "retry", "where": {"state": "failed"}})
    assert (first["matched"], first["changed"]) == (2, 2)
    house.clock.forward(1)
    for _ in range(2):
        house.finish(worker, failed(house.lease(worker), "load"))
    repeated = house.call(
        "POST", "/job/bulk", {"action": "retry", "where": {"state": "failed"}, "cursor": "0.0.0.0"}
    )
    assert repeated["matched"] == 0
    rest = work(house, "retry", where={"state": "failed"}, cursor=first["next"])
    assert rest["changed"] == 3
    assert sum(full(house, job)["attempt"] for job in jobs) == 7


def submit_pair(house: House) -> tuple[str, str]:
    """Return a job and one that gets its output as its input."""
    lambda_id = house.new_lambda()
    first = house.submit(lambda_id, max_attempts=1)
    return first, house.submit(lambda_id, input={"job": first})


def test_a_job_that_waits_for_others_is_run_again_with_what_it_missed(house: House):
    first, second = submit_pair(house)
    house.call("DELETE", f"/job/{second}")
    worker = house.new_worker()
    assert work(house, "retry", ids=[second])["changed"] == 1
    assert house.state(second) == "Waiting", "what it waits for has not ended"
    house.call("DELETE", f"/job/{second}")
    house.finish(worker, finished(house.lease(worker), "output"))
    assert work(house, "retry", ids=[second])["changed"] == 1
    assert house.state(second) == "Enqueued"
    blob = house.call("GET", f"/job/{second}")["input"]["id"]
    assert house.fetch(f"/data/{blob}/blob").data == b"output"
    house.call("DELETE", f"/job/{second}")
    made = work(house, "retry", ids=[second], edit={"timeout_s": 5})["made"][second]
    assert full(house, made)["inputs"] == [{"job": first, "name": "-"}] or full(house, made)["input"]["id"] == blob


def test_a_job_whose_parent_failed_follows_that_one(house: House):
    first, second = submit_pair(house)
    worker = house.new_worker()
    house.finish(worker, failed(house.lease(worker)))
    while house.services.dependants.settle() == 0:
        pass
    assert house.state(second) == "Cancelled"
    why = "a job that it waited for failed or was cancelled: run that again, and it follows"
    assert work(house, "retry", ids=[second])["refused"] == {why: [second]}
    work(house, "retry", ids=[first])
    while house.services.dependants.settle() == 0:
        pass
    assert house.state(second) == "Waiting"
    why = "what it waits for has not ended: it can only be run again as it is"
    house.call("DELETE", f"/job/{second}")
    assert work(house, "retry", ids=[second], edit={"timeout_s": 5})["refused"] == {why: [second]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"action": "retry"}, "say which jobs are meant"),
        ({"action": "retry", "where": {}}, "say which jobs are meant"),
        ({"action": "retry", "ids": ["1"], "where": {"state": "failed"}}, "by `ids`, or by `where`"),
        (
            {"action": "retry", "where": {"state": "running"}},
            "retry is for jobs that are Cancelled, Fail_Execution",
        ),
        ({"action": "retry", "where": {"state": "finished"}}, "not for Finished"),
        ({"action": "retry", "where": {"state": "done"}}, "there is no job state 'done'"),
        ({"action": "retry", "where": {"kind": "boom"}}, "'boom' is no kind of failure; the kinds are guest"),
        ({"action": "retry", "where": {"since": "yesterday"}}, "neither a time"),
        ({"action": "retry", "where": {"colour": "red"}}, "there is no field `colour` in `where`"),
        ({"action": "retry", "where": {"state": "failed"}, "cursor": "x"}, "the cursor is 'x'"),
        ({"action": "retry", "where": {"state": "failed"}, "cursor": f"1.{2**70}.0.0"}, "the cursor is"),
        ({"action": "cancel", "ids": ["1"], "edit": {"timeout_s": 1}}, "`edit` goes with retry"),
        ({"action": "retry", "ids": ["1"], "edit": {"timeout_s": -1}}, "limits.timeout_s is -1"),
        ({"action": "retry", "ids": ["1"], "edit": {"ok_codes": [-1]}}, "ok_codes"),
        ({"action": "retry", "ids": ["1"], "edit": {"input": "x"}}, "the input is wrong"),
        ({"action": "explode", "ids": ["1"]}, "explode"),
        ({"action": "cancel", "ids": ["1"] * 201}, "at most 200"),
        ({"action": "cancel", "ids": ["1"], "key": ""}, "a key has 1 to 255 characters"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(house: House, body: dict[str, Any], message: str):
    assert message in house.call("POST", "/job/bulk", body, status=422)["message"]


@pytest.mark.parametrize(("edit", "status"), [({"lambda": "5"}, 404), ({"input": "5"}, 404)])
def test_changes_to_what_is_not_there_are_refused(house: House, edit: dict[str, Any], status: int):
    [job] = fail(house)
    house.call("POST", "/job/bulk", {"action": "retry", "ids": [job], "edit": edit}, status=status)
    assert [each["id"] for each in house.call("GET", "/job")["jobs"]] == [job]


def test_the_pace_follows_what_transactions_take():
    pace = StepSize()
    for took_s, jobs in ((0.001, 150), (0.001, 225), (0.09, 38), (5.0, 10), (0.0, 10)):
        pace.note(pace.jobs, took_s)
        assert pace.jobs == jobs
