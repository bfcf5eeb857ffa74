"""`piecework status` and `piecework doctor` against a real server."""

import pytest

from piecework.protocol.messages import Finding
from piecework.receipts import open_key


@pytest.fixture
def stuck(client):
    """A job that no worker will take, for as long as the test runs."""
    job = client.submit(client.create_lambda(b"", runtime="nothing offers this"))
    yield job
    client.cancel(job)


def test_status_ends_with_1_when_something_is_wrong_and_says_what(run, stuck):
    shown = run("status", exit_code=1).out
    assert "cannot run: no worker" in shown.splitlines()[0]
    assert "WRONG   queue: " in shown
    assert "-> piecework job show " in shown
    document = run("status", "--json", exit_code=1).document
    assert document["is_well"] is False
    assert document["enqueued"] >= 1


def test_doctor_tells_of_all_that_it_looked_at(run, stuck):
    findings = [Finding(**each) for each in run("doctor", "--json", exit_code=1).document]
    by_check = {each.check: each for each in findings}
    assert by_check["connection"].level == by_check["this command"].level == by_check["this clock"].level == "ok"
    assert by_check["queue"].level == "wrong"
    assert {"database", "disk", "files", "workers", "backup"} <= by_check.keys()
    assert all(each.advice for each in findings if each.level == "wrong")
    shown = run("doctor", exit_code=1).out
    assert "well    connection: http" in shown
    assert "WRONG   queue: " in shown


def test_doctor_tells_of_keys_of_agents_on_this_machine(run, stuck, tmp_path, monkeypatch):
    monkeypatch.setenv("PIECEWORK_WORKER_STATE", str(tmp_path))

    def look():
        found = run("doctor", "--json", exit_code=1).document
        return [(each["level"], each["text"]) for each in found if each["check"] == "this agent"]

    assert look() == []
    open_key(tmp_path / "receipts.key")
    assert look() == [("ok", f"its key in {tmp_path} is good")]
    (tmp_path / "receipts.key").write_bytes(b"piecework-ed25519 AAAA")
    damaged = (
        f"the key file {tmp_path / 'receipts.key'} is damaged: bring it back, or remove it, and a new key is made"
    )
    assert look() == [("wrong", damaged)]
    (tmp_path / "receipts.key").chmod(0o644)
    assert look()[0][1].endswith("run chmod 600 on it, or remove it")
    assert f"the agent of {tmp_path} does not start until then" in run("doctor", exit_code=1).out


def test_doctor_says_what_to_do_when_no_server_answers(run):
    [finding] = run("doctor", "--json", url="http://127.0.0.1:9", exit_code=1).document
    assert (finding["check"], finding["level"]) == ("connection", "wrong")
    assert "PIECEWORK_URL" in finding["advice"]


def test_status_of_a_server_that_is_away_is_a_failure(run):
    assert run("status", url="http://127.0.0.1:9", exit_code=1).err
