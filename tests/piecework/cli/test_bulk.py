"""Many jobs from the command line, and what failed."""

import re

import pytest

from piecework.cli.queue.jobs import bulk
from piecework.protocol.messages import given


@pytest.fixture
def failing(client, worker):
    del worker
    return client.create_lambda(0, "test", name="failing", args=["fail", "no"])


def fail(client, lambda_id, count=1):
    jobs = [client.submit(lambda_id, b"word", max_attempts=1) for _ in range(count)]
    client.wait(jobs, 20)
    return jobs


def test_a_job_is_run_again_under_its_id(run, client, failing):
    [job] = fail(client, failing)
    assert run("job", "retry", job).out == "1 job run again\n"
    assert client.wait([job], 20)[0].attempt == 2
    assert run("job", "retry", job, "--dry-run").out == "1 job would be run again\n"


def test_with_changes_the_new_jobs_are_printed(run, client, failing, tmp_path):
    [job] = fail(client, failing)
    (tmp_path / "input").write_text("other")
    made = run("job", "retry", job, "--input", tmp_path / "input", "--arg", "same", "--timeout", "1m").out.strip()
    assert client.result(made, 20) == b"other"
    assert [line.split() for line in run("job", "show", made).out.splitlines() if "runs again" in line] == [
        ["runs", "again", str(job)]
    ]
    good = client.create_lambda(0, "test")
    ran = run("job", "retry", job, "--new-lambda", good, "--env", "A=1", "--memory", 64, "--json")
    assert client.job(ran.document["made"][str(job)]).lambda_.id == good
    ran = run("job", "retry", job, "--ok-code", 10, "--ok-code", 20)
    assert given(client.job(int(ran.out)).ok_codes) == [10, 20]


def test_what_cannot_be_run_again_is_told_on_stderr(run, client, failing):
    [job], live = fail(client, failing), client.submit(client.create_lambda(0, "exotic"))
    ran = run("job", "retry", job, live, 17, exit_code=1)
    assert ran.out == "1 job run again\n"
    assert f"{live}: it is Enqueued: only jobs that failed or were cancelled can be run again" in ran.err
    assert "17: there is no such job" in ran.err
    client.cancel(live)


def test_all_that_fit_are_run_again(run, client, failing):
    jobs = fail(client, failing, 2)
    options = ("--lambda", failing, "--state", "failed", "--kind", "guest,trap", "--since", "1h")
    assert run("job", "retry", *options, "--dry-run").out == "2 jobs would be run again\n"
    assert run("job", "retry", *options).out == "2 jobs run again\n"
    assert {info.attempt for info in client.wait(jobs, 20)} == {2}
    assert run("job", "retry", *options, "--before", "2020-01-01").out == "0 jobs would be run again\n"


def test_cancelling_all_that_fit_asks_first(run, client, monkeypatch):
    lambda_id = client.create_lambda(0, "exotic")
    jobs = [client.submit(lambda_id) for _ in range(2)]
    ran = run("job", "cancel", "--lambda", lambda_id, exit_code=2)
    assert "2 jobs would be cancelled: say --yes" in ran.err
    monkeypatch.setattr(bulk, "can_ask", lambda: True)
    assert run("job", "pause", "--lambda", lambda_id).out == "2 jobs paused\n"
    resumed = run("job", "resume", "--lambda", lambda_id, "--json").document
    assert resumed.pop("undo_key").startswith("resume-")
    assert resumed == {"matched": 2, "changed": 2, "refused": []}
    ran = run("job", "cancel", "--lambda", lambda_id, given="n\n", exit_code=1)
    assert "Cancel 2 jobs?" in ran.err
    assert {client.job(job).state for job in jobs} == {"Enqueued"}
    assert run("job", "cancel", "--lambda", lambda_id, given="y\n").out.endswith("2 jobs cancelled\n")
    assert run("job", "delete", "--lambda", lambda_id, "--yes").out == "2 jobs deleted\n"
    assert client.count_jobs(lambda_=lambda_id) == 0


def test_what_was_done_to_all_that_fit_is_taken_back(run, client):
    lambda_id = client.create_lambda(0, "exotic")
    jobs = [client.submit(lambda_id) for _ in range(3)]
    client.cancel(jobs[0])
    ran = run("job", "cancel", "--lambda", lambda_id, "--yes")
    [key] = re.findall(r"'piecework job undo (cancel-\w+)' takes it back", ran.err)
    assert run("job", "undo", key, "--dry-run").out == "2 jobs would be run again\n"
    assert run("job", "undo", key).out == "2 jobs run again\n"
    assert [client.job(job).state for job in jobs] == ["Cancelled", "Enqueued", "Enqueued"]
    assert "there is nothing to take back" in run("job", "undo", key, exit_code=1).err


def test_what_is_run_again_is_cancelled_to_take_it_back_once_somebody_says_so(run, client, failing):
    [job] = fail(client, failing)
    exotic = client.create_lambda(0, "exotic")
    options = ("--lambda", failing, "--state", "failed", "--new-lambda", exotic, "--json")
    key = run("job", "retry", *options).document["undo_key"]
    assert "1 job would be cancelled: say --yes" in run("job", "undo", key, exit_code=2).err
    assert run("job", "undo", key, "--yes", "--json").document == {"matched": 1, "changed": 1, "refused": []}
    assert [each.state for each in client.jobs(lambda_=exotic)] == ["Cancelled"]
    assert client.job(job).state == "Fail_Execution"


def test_jobs_are_named_in_one_way(run):
    for command in ("cancel", "pause", "resume", "retry", "delete"):
        assert "say which jobs" in run("job", command, exit_code=2).err
        assert "not by both" in run("job", command, 1, "--state", "failed", exit_code=2).err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--state", "done"], "there is no job state 'done'"),
        (["--kind", "boom"], "'boom' is no kind of failure; the kinds are"),
        (["--since", "yesterday"], "neither a time"),
        (["--state", "running"], "retry is for jobs that are"),
    ],
)
def test_what_a_filter_cannot_mean_is_refused(run, options, message):
    ran = run("job", "retry", *options, exit_code=1 if options[1] == "running" else 2)
    assert message in ran.err


def test_failures_are_listed_by_lambda_and_reason(run, client, failing):
    fail(client, failing, 3)
    ran = run("job", "list", "--failed", "--lambda", failing)
    [row] = ran.rows
    assert (row[0], row[1], " ".join(row[-2:])) == ("3", "failing", "guest: no")
    [document] = run("job", "list", "--failed", "--lambda", failing, "--json").document
    assert (document["count"], document["lambda"]) == (3, str(failing))
    assert "leave --state out" in run("job", "list", "--failed", "--state", "failed", exit_code=2).err
    other = client.create_lambda(0, "test", name="failing", args=["fail", "else"])
    fail(client, other)
    ran = run("job", "list", "--failed", "--lambda", "failing", "--limit", 1)
    assert "more failed for other reasons" in ran.err


def test_the_list_takes_several_states(run, client, failing):
    fail(client, failing)
    cancelled = client.submit(client.create_lambda(0, "exotic"), tags=["seven"])
    client.cancel(cancelled)
    rows = run("job", "list", "--state", "failed,cancelled", "--since", "1h").rows
    assert {"Cancelled", "Fail_Execution"} <= {word for row in rows for word in row}
    assert len(run("job", "list", "--state", "failed,cancelled", "--tag", "seven").rows) == 1
