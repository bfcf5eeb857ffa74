"""Groups and jobs that wait for others, as commands."""

import json

import pytest


@pytest.mark.slow
def test_a_group_is_watched_sealed_and_followed_by_a_job(run, client, worker, lambda_id):
    jobs = [run("job", "submit", lambda_id, "--group", "all").out.strip() for _ in range(2)]
    assert run("group", "wait", "all").out.count("Finished") == 1
    then = run("group", "then", "all", lambda_id).out.strip()
    client.wait([then], 10)
    results = json.loads(run("job", "output", then).out.lower())
    assert sorted(each["id"] for each in results["jobs"]) == jobs
    shown = run("group", "show", "all", "--json").document
    assert (shown["jobs"], shown["left"], shown["group"]["state"]) == (2, 0, "Finished")
    assert shown["dependants"] == [then]
    assert "sealed" in run("job", "submit", lambda_id, "--group", "all", exit_code=1).err


def test_groups_are_made_listed_and_sealed(run, client):
    made = run("group", "create", "mine").out.strip()
    assert run("group", "create", "mine", exit_code=1).err.count("is open") == 1
    unnamed = run("group", "create", "--json").document["id"]
    listed = run("group", "list", "--json").document
    assert [each["id"] for each in listed[:2]] == [unnamed, made]
    assert "is sealed; 0 of its 0 jobs are left" in run("group", "seal", "mine").out
    assert not {"sealed", "Finished"}.isdisjoint(run("group", "list").out.split())  # it is done in a moment
    assert [each.id for each in client.groups(1)] == [client.group(unnamed).group.id]


def test_waiting_for_a_group_that_failed_or_goes_on_fails(run, client, worker, lambda_id, idle_lambda):
    client.submit(lambda_id, args=["fail", "no"], max_attempts=1, group="bad")
    assert run("group", "wait", "bad", exit_code=1).out.count("Fail_Execution") == 1
    client.submit(idle_lambda, group="slow")
    assert "1 of its 1 jobs are not final yet" in run("group", "wait", "slow", "--timeout", "0", exit_code=1).err
    assert "there is no group none" in run("group", "show", "none", exit_code=1).err
    assert "a name has" in run("group", "create", "a b", exit_code=1).err


def test_a_job_takes_the_output_of_another(run, client, worker, lambda_id):
    first = run("job", "submit", lambda_id, "--input", "-", given=b"abc").out.strip()
    second = run("job", "submit", lambda_id, "--input-of", first, "--wait").out
    assert second == "ABC"
    refused = run("job", "submit", lambda_id, "--input-of", first, "--input", "-", given=b"x", exit_code=2)
    assert "exclude each other" in refused.err


def test_a_job_waits_for_others_and_shows_it(run, client, worker, lambda_id, idle_lambda):
    parent = client.submit(idle_lambda)
    child = run("job", "submit", lambda_id, "--after", parent, "--on-failure", "run", "--group", "g").out.strip()
    shown = run("job", "show", child).out
    assert f"it waits for job {parent}, which is Enqueued" in shown.replace("\n", " ")
    client.cancel(parent)
    client.wait([child], 10)
    strict = client.submit(lambda_id, after=[str(parent)])
    [ended] = list(client.ended([strict], 10))
    assert (ended.state, ended.error.kind) == ("Cancelled", "parent")
    assert (
        "no job or group 123456789012345"
        in run("job", "submit", lambda_id, "--after", "123456789012345", exit_code=1).err
    )


def test_the_jobs_of_a_group_are_run_again_and_cancelled(run, client, worker, lambda_id, idle_lambda):
    bad = client.submit(lambda_id, args=["fail", "no"], max_attempts=1, group="g")
    after = client.submit(lambda_id, after=[str(bad)], group="g")
    client.wait([after], 10)
    assert "1 job would be run again" in run("group", "retry", "g", "--dry-run").out
    assert "1 job run again" in run("group", "retry", "g").out
    waiting = client.submit(idle_lambda, group="g")
    then = run("group", "then", "g", lambda_id).out.strip()
    client.wait([after], 10)
    assert "1 job would be cancelled: say --yes" in run("group", "cancel", "g", exit_code=2).err
    assert "1 job cancelled" in run("group", "cancel", "g", "--yes").out
    assert {client.job(each).state for each in (waiting, then)} == {"Cancelled"}
    listed = run("job", "list", "--group", "g", "--state", "cancelled", "--json").document
    assert {each["id"] for each in listed} == {str(waiting), str(after)}


def test_a_file_names_the_job_that_produces_it(run, client, lambda_id, idle_lambda):
    parent = client.submit(idle_lambda)
    twice = ("--file-of", f"a.txt={parent}", "--file-of", f"b={str(parent)[-8:]}")
    assert "one job's output twice" in run("job", "submit", lambda_id, *twice, exit_code=1).err
    child = run("job", "submit", lambda_id, "--file-of", f"a.txt={str(parent)[-8:]}").out.strip()
    assert [(each.name, each.job) for each in client.job(child).inputs] == [("a.txt", parent)]
    assert f"a.txt from {parent}" in run("job", "show", child).out
    for wrong, said in (("x", "is not NAME=ID"), ("a/b=5", "is not NAME=ID"), ("a=", "decimal number")):
        assert said in run("job", "submit", lambda_id, "--file-of", wrong, exit_code=2).err
