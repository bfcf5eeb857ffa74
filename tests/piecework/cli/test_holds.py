"""Pausing and resuming things as a whole, from the command line and from Python."""

import pytest

from piecework.client import Invalid, NotFound


@pytest.fixture(autouse=True)
def nothing_is_paused(client):
    yield
    for each in client.holds():
        client.resume(each.kind, each.target)


def test_a_lambda_is_paused_listed_and_resumed(run, client, worker):
    del worker
    lambda_id = client.create_lambda(0, "test", name="upper-holds")
    assert run("pause", "lambda", "upper-holds", "--note", "bad release").out == (
        f"lambda upper-holds@{lambda_id} paused\n"
    )
    job = client.submit(lambda_id, b"word")
    [row] = run("pause", "list").rows
    assert (row[0], row[1], row[-2:]) == ("lambda", f"upper-holds@{lambda_id}", ["bad", "release"])
    [document] = run("pause", "list", "--json").document
    assert (document["kind"], document["target"], document["name"]) == ("lambda", str(lambda_id), "upper-holds")
    assert "is paused since" in run("job", "show", job).out
    assert run("resume", "lambda", lambda_id).out == f"lambda upper-holds@{lambda_id} resumed\n"
    assert client.result(job, 20) == b"WORD"
    assert run("resume", "lambda", lambda_id).out == f"lambda {lambda_id} was not paused\n"


@pytest.mark.parametrize(("kind", "target"), [("runtime", "exotic+http"), ("tenant", "Ann & Co/7"), ("group", "")])
def test_other_things_are_paused_by_their_names(run, client, kind, target):
    target = target or str(client.create_group())
    assert run("pause", kind, target).out == f"{kind} {target} paused\n"
    assert [(each.kind, each.target) for each in client.holds()] == [(kind, target)]
    assert run("resume", kind, target, "--json").document[0]["target"] == target
    assert client.holds() == []


def test_what_cannot_be_paused_is_refused(run, client):
    assert "there is no lambda named 'nobody'" in run("pause", "lambda", "nobody", exit_code=1).err
    assert "there is no group nothing" in run("pause", "group", "nothing", exit_code=1).err
    with pytest.raises(NotFound):
        client.pause("lambda", 17)
    with pytest.raises(Invalid, match="at most 500"):
        client.pause("runtime", "wasi", note="x" * 501)
