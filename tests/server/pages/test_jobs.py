"""The list of jobs: its filters, its counts, and what strangers wrote."""

import pytest
from console import Browser
from house import House, failed, finished
from kept_houses import Keep, Kept

from piecework.server.store.queue.jobs import searches

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202egpj.exe\x07"


@pytest.fixture(scope="module")
def kept(keep: Keep) -> Kept:
    return keep(submit_jobs)


@pytest.fixture
def jobs(kept: Kept) -> dict[str, str]:
    """Jobs in many states, by what they are."""
    return kept.ids


def submit_jobs(house: House) -> dict[str, str]:
    upper, crash = house.new_lambda(name="upper"), house.new_lambda(name="crash", runtime="wasi")
    worker = house.new_worker("wasi", name="w", tags=["gpu"])
    made = {
        "group": house.submit(crash, group="night", max_attempts=1),
        "finished": house.submit(crash, args=["--size", "big"], key="k-1"),
        "tag": house.submit(upper, tags=["gpu"]),
        "tenant": house.submit(upper, tenant="acme"),
        "paused": house.submit(upper, status="paused"),
        "later": house.submit(upper, delay_s=3600),
    }
    house.finish(worker, failed(house.lease(worker), "trap", f"no such file {HOSTILE}"))
    house.finish(worker, finished(house.lease(worker)))
    return made | {"worker": worker}


def shown(browser: Browser, jobs: dict[str, str], query: str) -> set[str]:
    """Return which of the jobs a page shows."""
    links = browser.get(f"/console/jobs?{query}").links
    return {name for name, id_ in jobs.items() if f"/console/jobs/{id_}" in links}


ALL = {"group", "finished", "tag", "tenant", "paused", "later"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ALL),
        ("state=failed", {"group"}),
        ("state=Fail_Execution", {"group"}),
        ("state=finished", {"finished"}),
        ("state=paused", {"paused"}),
        ("state=waiting", {"later"}),
        ("state=enqueued", {"tag", "tenant"}),
        ("state=running", set()),
        ("state=failed,finished", {"group", "finished"}),
        ("lambda=crash", {"group", "finished"}),
        ("lambda=nobody", set()),
        ("group=night", {"group"}),
        ("tag=gpu", {"tag"}),
        ("tenant=acme", {"tenant"}),
        ("kind=trap", {"group"}),
        ("key=k-1", {"finished"}),
        ("text=NO SUCH", {"group"}),
        ("text=big", {"finished"}),
        ("q=such file", {"group"}),
        ("q=state:finished", {"finished"}),
        ("q=lambda:crash big", {"finished"}),
        ("since=1h", ALL),
        ("before=1h", set()),
        ("submitter=ana", set()),
    ],
)
def test_each_filter_shows_the_jobs_that_fit(
    browser: Browser, jobs: dict[str, str], query: str, expected: set[str]
):
    assert shown(browser, jobs, query) == expected


def test_jobs_of_a_worker_and_of_a_schedule(house: House, browser: Browser, jobs: dict[str, str]):
    assert shown(browser, jobs, f"worker={jobs['worker']}") == {"group", "finished"}
    body = {"name": "nightly", "every_s": 60, "job": {"lambda": "upper"}}
    house.call("POST", "/schedule", body)
    made = str(house.call("POST", "/schedule/nightly/run", {})["id"])
    assert shown(browser, {"one": made, **jobs}, "schedule=nightly") == {"one"}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("group=nobody", "no group"),
        ("since=yesterday", "neither a time"),
        ("state=happy", "state"),
        ("schedule=x", "schedule"),
        ("kind=bad", "no kind of failure"),
    ],
)
def test_a_filter_that_means_nothing_is_told_beside_the_form(browser: Browser, query: str, says: str):
    assert says in browser.get(f"/console/jobs?{query}").text


@pytest.mark.parametrize("query", ["worker=x", "cursor=1", "cursor=a.b"])
def test_an_address_that_cannot_be_read_is_refused(browser: Browser, query: str):
    assert query.partition("=")[0] in browser.get(f"/console/jobs?{query}", status=400).text


def test_counts_stand_beside_the_states(browser: Browser, jobs: dict[str, str]):
    text = " ".join(browser.get("/console/jobs").text.split())
    assert "all waiting 1 paused enqueued 2 running 0 finished 1 failed 1 cancelled 0" in text
    assert "all 2" in " ".join(browser.get("/console/jobs?lambda=crash").text.split())


def test_running_jobs_tell_when_they_may_end(house: House, browser: Browser):
    lambda_id, worker = house.new_lambda(), house.new_worker()
    for _ in range(3):
        house.submit(lambda_id)
        house.finish(worker, finished(house.lease(worker)) | {"usage": {"wall_s": 20.0}})
    assert "ETA" not in browser.get("/console/jobs").text
    house.submit(lambda_id)
    house.lease(worker)
    house.clock.forward(8)
    assert "8.0 s… about 12 s left" in " ".join(browser.get("/console/jobs?state=running").text.split())
    house.clock.forward(92)
    assert "straggler: over its usual time by 80 s" in browser.get("/console/jobs").text


def test_the_end_of_an_id_leads_to_its_job(house: House, browser: Browser, jobs: dict[str, str]):
    answer = house.client.get(f"/console/jobs?q={jobs['tag'][-9:]}")
    assert answer.headers["Location"] == f"/console/jobs/{jobs['tag']}"
    browser.get("/console/jobs?q=123456")


def test_what_strangers_wrote_is_shown_and_does_nothing(browser: Browser, jobs: dict[str, str]):
    for path in ("/console/jobs", "/console/jobs/failures", "/console/jobs?text=<script>&tag=%22%3E<b>"):
        page = browser.get(path)
        assert not set("\x1b\u202e\x07") & set(page.text)
    assert "<script>alert(1)</script>\\x1b[31m\\u202egpj.exe" in browser.get("/console/jobs").text


@pytest.mark.slow
def test_pages_lead_to_older_jobs(house: House, browser: Browser):
    lambda_id = house.new_lambda()
    ids = [house.submit(lambda_id) for _ in range(120)]
    seen: list[str] = []
    path = "/console/jobs"
    while path:
        links = browser.get(path).links
        seen += [each.rpartition("/")[2] for each in links if each.rpartition("/")[2] in ids]
        path = next((each for each in links if "cursor=" in each), "")
    assert seen == ids[::-1]


def test_a_page_without_jobs_looks_further_back_until_all_were_looked_at(
    house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(searches, "WINDOWS", (10,))
    lambda_id = house.new_lambda()
    oldest = house.submit(lambda_id, args=["--needle"])
    for _ in range(25):
        house.submit(lambda_id)
    page, path = browser.get("/console/jobs?text=--needle"), ""
    for looked_at in (10, 20):
        assert f"None of the {looked_at} newest fits" in page.text
        path = next(each for each in page.links if "cursor=" in each)
        page = browser.get(path)
    assert f"/console/jobs/{oldest}" in page.links
    ended = browser.get("/console/jobs?text=nothing&ended=1")
    assert "No job fits" in ended.text
    assert not any("cursor=" in each for each in ended.links)


def test_failures_are_grouped_and_lead_to_their_jobs(house: House, browser: Browser, jobs: dict[str, str]):
    page = browser.get("/console/jobs/failures")
    assert "crash" in page.text
    [link] = [each for each in page.links if "kind=trap" in each and "state=failed" in each]
    assert f"/console/jobs/{jobs['group']}" in browser.get(link).links
    house.submit("crash", group="night", status="paused")
    links = browser.get("/console/jobs/failures?group=night").links
    assert len([each for each in links if "state=failed" in each and "kind=" in each]) == 1
    for other in ("lambda=upper", "tag=gpu"):
        assert "No job failed" in browser.get(f"/console/jobs/failures?{other}").text


def test_a_list_that_comes_anew_is_only_the_rows(browser: Browser, jobs: dict[str, str]):
    page = browser.get("/console/jobs", headers={"HX-Request": "true"})
    assert jobs["tag"] in page.text
    assert "Piecework" not in page.text


def test_who_submitted_stands_beside(house: House, browser: Browser):
    lambda_id = house.new_lambda()
    secret = browser.sign_in("submit", "ana-ci")
    headers = {"Authorization": f"Bearer {secret}"}
    job = house.client.post("/job", json={"lambda": lambda_id}, headers=headers).get_json()["id"]
    assert f"/console/jobs/{job}" in browser.get("/console/jobs?submitter=ana-ci").links
    assert f"/console/jobs/{job}" not in browser.get("/console/jobs?submitter=ana").links
