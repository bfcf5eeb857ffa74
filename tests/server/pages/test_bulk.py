"""What is done to many jobs from the list: counted first, then done to exactly those."""

import pytest
from console import Browser
from house import House, failed

DO = "/console/jobs/act/do"
UNDO = "/console/jobs/undo"


@pytest.fixture
def ids(house: House) -> list[str]:
    """Five jobs that failed."""
    lambda_id, worker = house.new_lambda(name="crash"), house.new_worker()
    made = [house.submit(lambda_id, max_attempts=1) for _ in range(5)]
    house.finish(worker, *(failed(house.lease(worker), "trap") for _ in made))
    return made


def test_all_that_match_are_counted_and_then_exactly_these_are_run_again(
    house: House, browser: Browser, ids: list[str]
):
    page = browser.get("/console/jobs?state=failed&lambda=crash")
    counted = browser.send(page, "/console/jobs/act", whom="all", action="retry")
    assert "5 jobs would be run again" in counted.text
    assert {house.state(each) for each in ids} == {"Fail_Execution"}
    house.clock.forward(1)
    done = browser.send(counted, DO)
    assert "5 jobs are run again" in done.text
    assert {house.state(each) for each in ids} == {"Enqueued"}


def test_selected_jobs_are_cancelled_and_that_is_taken_back(house: House, browser: Browser):
    lambda_id = house.new_lambda()
    ids = [house.submit(lambda_id) for _ in range(3)]
    page = browser.get("/console/jobs")
    counted = browser.send(page, "/console/jobs/act", action="cancel", id=ids[:2])
    assert "2 jobs would be cancelled" in counted.text
    done = browser.send(counted, DO)
    assert [house.state(each) for each in ids] == ["Cancelled", "Cancelled", "Enqueued"]
    again = browser.send(done, UNDO)
    assert "Of 2 jobs that were cancelled, 2 would be run again" in again.text
    assert "2 jobs are run again" in browser.send(again, f"{UNDO}/do").text
    assert [house.state(each) for each in ids] == ["Enqueued"] * 3
    assert "There is nothing to take back" in browser.send(again, f"{UNDO}/do").text


def test_all_that_match_are_paused_and_exactly_those_are_let_go_again(house: House, browser: Browser):
    lambda_id = house.new_lambda(name="crash")
    ids = [house.submit(lambda_id) for _ in range(4)]
    house.call("POST", f"/job/{ids[0]}", {"status": "Paused"})
    counted = browser.send(
        browser.get("/console/jobs?lambda=crash"), "/console/jobs/act", whom="all", action="pause"
    )
    assert "It can be taken back within a day" in counted.text
    done = browser.send(counted, DO)
    assert [house.state(each) for each in ids] == ["Paused"] * 4
    house.clock.forward(1)
    house.call("DELETE", f"/job/{ids[1]}")
    again = browser.send(done, UNDO)
    assert "Of 3 jobs that were paused, 2 would be resumed" in again.text
    assert "1 not: it ended, or was changed, since" in again.text
    browser.send(again, f"{UNDO}/do")
    assert [house.state(each) for each in ids] == ["Paused", "Cancelled", "Enqueued", "Enqueued"]


def test_jobs_that_were_run_again_are_cancelled_to_take_it_back(house: House, browser: Browser, ids: list[str]):
    fixed = house.new_lambda(name="fixed")
    counted = browser.send(
        browser.get("/console/jobs?state=failed"), "/console/jobs/act", action="retry", whom="all"
    )
    done = browser.send(counted, DO, new_lambda="fixed")
    again = browser.send(done, UNDO)
    assert "Of 5 jobs that were run again, 5 would be cancelled" in again.text
    browser.send(again, f"{UNDO}/do")
    made = house.call("GET", f"/job?lambda={fixed}")["jobs"]
    assert {each["state"] for each in made} == {"Cancelled"}


def test_jobs_run_again_with_another_lambda_and_input(house: House, browser: Browser, ids: list[str]):
    fixed = house.new_lambda(name="fixed")
    page = browser.get("/console/jobs?state=failed")
    counted = browser.send(page, "/console/jobs/act", action="retry", id=ids[:2])
    done = browser.send(counted, DO, new_lambda="fixed", new_input="1", input="new\r\ntext")
    assert "2 jobs are run again" in done.text
    made = house.call("GET", "/job?lambda=fixed")["jobs"]
    assert {str(each["retry_of"]) for each in made} == set(ids[:2])
    assert house.fetch(f"/data/{made[0]['input']['id']}/blob").data == b"new\ntext"
    assert house.state(ids[0]) == "Fail_Execution"
    assert made[0]["lambda"]["id"] == fixed


def test_a_form_that_is_sent_twice_acts_once(house: House, browser: Browser, ids: list[str]):
    house.new_lambda(name="fixed")
    counted = browser.send(browser.get("/console/jobs"), "/console/jobs/act", action="retry", id=ids[:1])
    for _ in range(2):
        browser.send(counted, DO, new_lambda="fixed")
    assert len(house.call("GET", "/job?lambda=fixed")["jobs"]) == 1


def test_jobs_are_deleted(house: House, browser: Browser, ids: list[str]):
    counted = browser.send(
        browser.get("/console/jobs?state=failed"), "/console/jobs/act", action="delete", whom="all"
    )
    assert "this cannot be taken back" in counted.text
    done = browser.send(counted, DO)
    assert "5 jobs are deleted" in done.text
    assert "Take it back" not in done.text
    assert house.call("GET", "/job")["jobs"] == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"action": "retry"}, "no job is selected"),
        ({"action": "burn", "whom": "all"}, "cannot be done to jobs"),
        ({"action": "retry", "whom": "all"}, "say which jobs are meant"),
        ({"action": "retry", "id": "x"}, "a job that cannot be"),
        ({"action": "pause", "whom": "all", "state": "finished"}, "pause is for jobs that are"),
        ({"action": "retry", "id": "1", "matched": "-1"}, "changed on its way"),
        ({"action": "retry", "id": "1", "refused": "[]"}, "changed on its way"),
    ],
)
def test_what_cannot_be_is_refused(browser: Browser, ids: list[str], fields: dict[str, str], says: str):
    mark = browser.get("/console/jobs").form("/console/jobs/act").fields[0]
    status = 422 if "say which" in says or "pause is" in says else 400
    assert says in browser.post("/console/jobs/act", [mark, *fields.items()], status=status).text


def test_what_was_refused_is_told_by_reason(house: House, browser: Browser):
    job = house.submit(house.new_lambda())
    counted = browser.send(browser.get("/console/jobs"), "/console/jobs/act", action="retry", id=[job])
    assert "only jobs that failed or were cancelled can be run again" in browser.send(counted, DO).text


def test_what_is_done_on_a_page_is_in_the_audit(house: House, browser: Browser):
    job = house.submit(house.new_lambda())
    counted = browser.send(browser.get("/console/jobs"), "/console/jobs/act", action="cancel", id=[job])
    browser.send(counted, DO)
    [entry] = house.call("GET", "/audit?act=cancel")["entries"]
    assert (entry["act"], entry["by"], entry["count"]) == ("cancel jobs", "loopback", 1)
