"""`piecework webhook` against a real server, and somebody who is told."""

import json

import pytest
from patience import until
from standardwebhooks import Webhook as Verifier


@pytest.fixture
def secret(run, script, client):
    yield run("webhook", "create", "hook", script.url).out.strip()
    for each in client.webhooks():
        client.delete_webhook(each.id)


def fields(shown):
    return dict(line.split(maxsplit=1) for line in shown.out.splitlines())


def test_a_job_tells_a_webhook_how_it_ended(run, secret, script, lambda_id, worker):
    script.answer({}, status=200)
    job = run("job", "submit", lambda_id, "--on-end", "hook", "--wait", "--json").document["id"]
    script.wait_for_requests(1)
    [seen] = script.seen
    told = Verifier(secret).verify(seen.body, seen.headers)
    assert (told["type"], told["data"]["job"]) == ("job.finished", job)
    assert "hook" in run("job", "show", job).out
    assert run("webhook", "show", "hook", "--json").document["failed"] == 0


@pytest.mark.slow
def test_a_test_tells_what_came_of_it(run, client, secret, script):
    script.answer({}, status=202)
    assert run("webhook", "test", "hook").out.startswith("it answered 202: {} in ")
    script.answer(body=b"not here", status=404)
    assert "it answered 404: not here" in run("webhook", "test", "hook", exit_code=1).err
    [lost, taken] = run("webhook", "deliveries", "hook").rows
    assert (lost[2], taken[2]) == ("failed", "delivered")
    shown = run("webhook", "delivery", lost[0])
    assert json.loads(fields(shown)["body"])["data"] == {"webhook": "hook"}
    script.answer({}, status=200)
    assert run("webhook", "retry", "--failed", "hook").out == "1 deliveries are sent again\n"
    script.wait_for_requests(3)
    until(
        lambda: client.delivery(lost[0]).delivery.state == "delivered"
    )  # while it is being sent, it is not sent again
    script.answer({}, status=200)
    assert run("webhook", "retry", lost[0]).out.endswith("is sent again\n")
    script.wait_for_requests(1)
    assert "give the ids" in run("webhook", "retry", exit_code=2).err


def test_webhooks_are_listed_moved_paused_and_deleted(run, client, secret, script):
    assert run("webhook", "list").rows[0][:3] == ["hook", script.url, "active"]
    rotated = run("webhook", "rotate", "hook")
    assert rotated.out.startswith("whsec_")
    assert rotated.out.strip() != secret
    assert "not shown again" in rotated.err
    assert run("webhook", "rotate", "hook", "--at-once", "--json").document["secret"].startswith("whsec_")
    assert f"{script.url}/new" in run("webhook", "move", "hook", f"{script.url}/new").out
    assert run("webhook", "pause", "hook").out == "hook is paused\n"
    assert fields(run("webhook", "show", "hook"))["state"] == "paused"
    assert "resume it first" in run("webhook", "test", "hook", exit_code=1).err
    assert run("webhook", "resume", "hook").out == "hook is resumed\n"
    group = run("group", "create", "telling", "--on-end", "hook").out.strip()
    assert "on end" in run("group", "show", group).out
    assert f"group {group} names the webhook hook" in run("webhook", "delete", "hook", exit_code=1).err
    run("group", "seal", group)
    until(lambda: client.group(group).group.done_at)


def test_mistakes_are_told(run, secret, script, lambda_id):
    assert "is named 'hook' already" in run("webhook", "create", "hook", script.url, exit_code=1).err.replace(
        "there is a webhook named 'hook'", "is named 'hook'"
    )
    assert "which is not public" in run("webhook", "create", "inner", "http://10.0.0.1/", exit_code=1).err
    assert "there is no webhook nobody" in run("webhook", "show", "nobody", exit_code=1).err
    assert "there is no webhook nobody" in run("job", "submit", lambda_id, "--on-end", "nobody", exit_code=1).err
