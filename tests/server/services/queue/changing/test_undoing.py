"""Taking back what was done to many jobs: exactly those that it changed, unless somebody changed them since."""

from typing import Any

import pytest
from house import House, failed, finished

from piecework.server.services.queue.changing import undoing

KEY = "the-work"


def submit(house: House, count: int, **fields: Any) -> list[str]:
    lambda_id = fields.pop("lambda", None) or house.new_lambda()
    return [house.submit(lambda_id, max_attempts=1, **fields) for _ in range(count)]


def fail(house: House, count: int, **fields: Any) -> list[str]:
    jobs, worker = submit(house, count, **fields), house.new_worker()
    house.finish(worker, *(failed(house.lease(worker), "trap") for _ in jobs))
    return jobs


def send(house: House, action: str, **fields: Any) -> dict[str, Any]:
    """Send requests until all is done; return what they came to together."""
    total: dict[str, Any] = {"matched": 0, "changed": 0, "refused": {}, "undoes": None}
    cursor = None
    while True:
        body = {"action": action, "key": KEY, "cursor": cursor} | fields
        reply = house.call("POST", "/job/bulk", body)
        for name in ("matched", "changed"):
            total[name] += reply[name]
        total["refused"] |= {each["message"]: each["jobs"] for each in reply["refused"]}
        total["undoes"] = reply.get("undoes", total["undoes"])
        if (cursor := reply.get("next")) is None:
            return total


def states(house: House, jobs: list[str]) -> list[str]:
    return [house.state(job) for job in jobs]


def test_a_cancel_is_taken_back_for_exactly_those_that_it_cancelled(house: House):
    jobs = submit(house, 4, tags=["red"])
    house.call("DELETE", f"/job/{jobs[0]}")
    house.clock.forward(1)
    assert send(house, "cancel", where={"tag": "red"})["changed"] == 3
    assert send(house, "undo", dry_run=True) == {"matched": 3, "changed": 3, "refused": {}, "undoes": "cancel"}
    assert states(house, jobs) == ["Cancelled"] * 4
    assert send(house, "undo") == {"matched": 3, "changed": 3, "refused": {}, "undoes": "cancel"}
    assert states(house, jobs) == ["Cancelled", "Enqueued", "Enqueued", "Enqueued"]


def test_it_is_taken_back_once(house: House):
    jobs = submit(house, 2)
    send(house, "cancel", ids=jobs)
    send(house, "undo")
    house.clock.forward(1)
    send(house, "cancel", ids=jobs, key="other")
    assert send(house, "undo") == {"matched": 0, "changed": 0, "refused": {}, "undoes": None}
    assert states(house, jobs) == ["Cancelled", "Cancelled"]


def test_what_was_cancelled_by_name_before_stays_cancelled(house: House):
    jobs = submit(house, 2)
    house.call("DELETE", f"/job/{jobs[0]}")
    assert send(house, "cancel", ids=jobs)["changed"] == 2
    assert send(house, "undo")["matched"] == 1
    assert states(house, jobs) == ["Cancelled", "Enqueued"]


def test_a_pause_and_a_resume_are_taken_back(house: House):
    jobs = submit(house, 3, tags=["red"])
    house.call("POST", f"/job/{jobs[0]}", {"status": "Paused"})
    send(house, "pause", where={"tag": "red"})
    send(house, "undo")
    assert states(house, jobs) == ["Paused", "Enqueued", "Enqueued"]
    send(house, "resume", where={"tag": "red"})
    assert states(house, jobs) == ["Enqueued"] * 3
    assert send(house, "undo")["undoes"] == "resume"
    assert states(house, jobs) == ["Paused", "Enqueued", "Enqueued"]


def test_jobs_that_were_run_again_are_cancelled_unless_they_ended(house: House):
    jobs, worker = fail(house, 3), house.new_worker()
    send(house, "retry", where={"state": "failed"})
    house.clock.forward(1)
    house.finish(worker, finished(house.lease(worker)))
    house.lease(worker)
    done = send(house, "undo")
    assert (done["changed"], done["refused"]) == (2, {undoing.CHANGED_SINCE: [jobs[0]]})
    assert states(house, jobs) == ["Finished", "Cancelled", "Cancelled"]


def test_jobs_that_were_made_of_others_are_cancelled_and_the_others_left(house: House):
    jobs = fail(house, 2)
    house.new_lambda(name="fixed")
    send(house, "retry", where={"state": "failed"}, edit={"lambda": "fixed"})
    made = [str(each["id"]) for each in house.call("GET", "/job?lambda=fixed")["jobs"]]
    assert send(house, "undo")["changed"] == 2
    assert states(house, made) == ["Cancelled", "Cancelled"]
    assert states(house, jobs) == ["Fail_Execution", "Fail_Execution"]


@pytest.mark.parametrize("action", ["cancel", "pause"])
def test_what_somebody_changed_since_is_left_alone(house: House, action: str):
    jobs = submit(house, 2)
    back, again = {"cancel": ("retry", "cancel"), "pause": ("resume", "pause")}[action]
    send(house, action, ids=jobs)
    before = states(house, jobs)
    for deed in (back, again):
        house.clock.forward(1)
        send(house, deed, ids=jobs[:1], key=f"other {deed}")
    assert states(house, jobs) == before
    assert send(house, "undo")["refused"] == {undoing.CHANGED_SINCE: jobs[:1]}
    assert states(house, jobs) == [before[0], "Enqueued"]


def test_what_was_deleted_since_is_told(house: House):
    jobs = submit(house, 2)
    send(house, "cancel", ids=jobs)
    send(house, "delete", ids=jobs[:1], key="other")
    done = send(house, "undo", dry_run=True)
    assert (done["matched"], done["changed"], done["refused"]) == (2, 1, {"there is no such job": jobs[:1]})


def test_a_delete_cannot_be_taken_back(house: House):
    send(house, "delete", ids=fail(house, 1))
    assert send(house, "undo")["undoes"] is None


def test_a_running_job_that_was_cancelled_is_run_again_though_its_outcome_comes_late(house: House):
    [job], worker = submit(house, 1), house.new_worker()
    lease = house.lease(worker)
    send(house, "cancel", ids=[job])
    house.clock.forward(1)
    house.finish(worker, finished(lease), status=None)
    assert send(house, "undo")["changed"] == 1
    assert house.state(job) == "Enqueued"


def test_jobs_that_were_cancelled_with_one_wait_again(house: House):
    [first] = submit(house, 1)
    [second] = submit(house, 1, after=[first])
    send(house, "cancel", ids=[first])
    house.move_on()
    assert house.state(second) == "Cancelled"
    send(house, "undo")
    house.move_on()
    assert states(house, [first, second]) == ["Enqueued", "Waiting"]


def test_many_steps_are_taken_back_in_several_requests(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(undoing, "REQUEST_S", -1.0)
    jobs = submit(house, 2, tags=["red"]) + submit(house, 2, tags=["blue"])
    for tag in ("red", "blue"):
        send(house, "cancel", where={"tag": tag})
    reply = house.call("POST", "/job/bulk", {"action": "undo", "key": KEY})
    assert (reply["changed"], "next" in reply) == (2, True)
    assert send(house, "undo")["changed"] == 2
    assert states(house, jobs) == ["Enqueued"] * 4


def test_it_is_known_for_a_day(house: House):
    jobs = submit(house, 1)
    send(house, "cancel", ids=jobs)
    house.clock.forward(24 * 3600 + 1)
    assert house.services.undoing.forget() is False
    assert send(house, "undo")["matched"] == 0


def test_it_is_in_the_audit_with_its_key(house: House):
    send(house, "cancel", ids=submit(house, 2))
    send(house, "undo")
    undone, done = house.call("GET", "/audit?limit=2")["entries"]
    assert (done["act"], done["count"], undone["act"], undone["count"]) == ("cancel jobs", 2, "undo jobs", 2)
    assert f"key={KEY}" in done["detail"]
    assert f"key={KEY}" in undone["detail"]


@pytest.mark.parametrize(("fields", "problem"), [
    ({"key": None}, "and nothing else"), ({"ids": ["1"]}, "and nothing else"),
    ({"where": {"state": "failed"}}, "and nothing else"), ({"edit": {"args": ["x"]}}, "and nothing else"),
    ({"cursor": "x"}, "'x', which no answer had"), ({"cursor": "1.2"}, "'1.2', which no answer had"),
    ({"key": "x" * 300}, "this one has 300"),
])  # fmt: skip
def test_what_does_not_go_with_it_is_refused(house: House, fields: dict[str, Any], problem: str):
    refused = house.call("POST", "/job/bulk", {"action": "undo", "key": KEY} | fields, status=422)
    assert problem in refused["message"]
