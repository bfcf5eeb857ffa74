"""`piecework schedule` against a real server."""

import itertools
import os
import time

import pytest

from piecework.cli.screen import schedule_rows
from piecework.protocol.ids import Id
from piecework.protocol.messages import ScheduleInfo

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    os.environ.pop("TZ", None)
    time.tzset()


@pytest.fixture
def name(client):
    yield f"by-command-{next(NUMBERS)}"
    for each in client.schedules():
        client.remove_schedule(each.id)


def fields(shown):
    return dict(line.split(maxsplit=1) for line in shown.out.partition("\n\n")[0].splitlines())


def test_a_schedule_is_created_shown_and_listed(run, name, idle_lambda, tmp_path):
    (tmp_path / "in").write_text("x")
    made = run(
        "schedule", "create", name, idle_lambda, "--cron", "0 0 29 2 *", "--timezone", "Asia/Tokyo",
        "--input", tmp_path / "in", "--overlap", "skip", "--catch-up", "all", "--jitter", "1m", "--expires", "2h",
        "--arg", "a b", "--env", "API_TOKEN=s", "--env", "LANG=C", "--timeout", "5m", "--memory", 64,
        "--tag", "near", "--max-attempts", 2, "--backoff", "fixed:10s", "--retry-on", "timeout", "--priority", 5,
        "--delay", "3s",
    )  # fmt: skip
    assert made.err == f"piecework: {name} ticks next at 2028-02-28 15:00:00.000+00:00\n"
    shown = fields(run("schedule", "show", name))
    assert shown["id"] == made.out.strip()
    assert shown | {
        "ticks": "0 0 29 2 * Asia/Tokyo", "catch-up": "all", "overlap": "skip", "jitter": "60 s", "expires": "2 h",
        "lambda": str(idle_lambda), "args": "'a b'", "env": "API_TOKEN=*** LANG=C", "timeout": "5 min",
        "limits": "memory=67108864", "tags": "near", "priority": "5", "delay": "3.0 s", "attempts": "2",
        "backoff": "fixed, 10 s",
    } == shown  # fmt: skip
    assert shown["upcoming"].startswith("2028-02-28 15:00:00, 2032-02-28 15:00:00, ")
    assert run("schedule", "list").rows[0][:8] == [name, "0", "0", "29", "2", "*", "Asia/Tokyo", str(idle_lambda)]
    document = run("schedule", "show", name, "--json").document
    assert (document["name"], document["ticks"], document["job"]["env"]["API_TOKEN"]) == (name, [], "***")
    assert run("schedule", "list", "--json").document[0]["name"] == name
    assert fields(run("schedule", "show", made.out.strip()[-9:]))["name"] == name


def test_running_it_by_hand_shows_in_its_ticks_and_jobs(run, name, idle_lambda):
    run("schedule", "create", name, idle_lambda, "--every", "1d", "--paused")
    job = run("schedule", "run", name).out.strip()
    assert run("schedule", "run", name, "--json").document.keys() == {"id"}
    table = run("schedule", "show", name).out.partition("\n\n")[2].splitlines()
    assert len(table) == 3
    assert table[2].split()[2:] == ["run", "by", "hand", job, "Enqueued"]
    assert len(run("schedule", "show", name, "--ticks", 1).out.partition("\n\n")[2].splitlines()) == 2
    assert "\n\n" not in run("schedule", "show", name, "--ticks", 0).out
    assert [row[0] for row in run("job", "list", "--schedule", name).rows][1] == job
    assert fields(run("job", "show", job))["schedule"] == fields(run("schedule", "show", name))["id"]
    assert run("schedule", "list").rows[0][:6] == [name, "every", "24", "h", str(idle_lambda), "paused"]


@pytest.mark.usefixtures("worker")
def test_running_it_can_wait_for_the_result(run, name, lambda_id, client):
    run("schedule", "create", name, lambda_id, "--every", "1d", "--input", "-", given=b"abc")
    assert run("schedule", "run", name, "--wait").out == "ABC"


def test_an_edit_changes_what_it_names(run, name, idle_lambda, client):
    run("schedule", "create", name, idle_lambda, "--every", "1d", "--arg", "a", "--env", "A=1", "--memory", 5)
    edited = run(
        "schedule", "edit", name, "--cron", "0 0 29 2 *", "--env", "B=2", "--overlap", "replace", "--expires", "1h"
    )
    assert edited.out == f"{name} is changed\n"
    assert edited.err == f"piecework: {name} ticks next at 2028-02-29 00:00:00.000+00:00\n"
    found = client.schedule(name)
    assert (found.cron, found.overlap, found.expires_s) == ("0 0 29 2 *", "replace", 3600.0)
    assert (found.job.args, found.job.env) == (["a"], {"A": "1", "B": "2"})
    other = client.create_lambda(0, "exotic", name=f"{name}-code")
    resets = [word for each in ("arg", "memory", "expires") for word in ("--reset", each)]
    run("schedule", "edit", name, "--lambda", f"{name}-code", "--input", "-", *resets, given=b"new")
    found = client.schedule(name)
    assert (found.lambda_, found.job.args, found.job.limits.memory_bytes) == (f"{name}-code", None, None)
    assert "expires_s" not in run("schedule", "edit", name, "--priority", 4, "--json").document
    assert client.read(found.job.input) == b"new"
    assert client.job(client.run_schedule(name)).lambda_.id == other


def test_several_are_paused_resumed_and_removed_at_once(run, name, idle_lambda):
    second = f"{name}-2"
    for each in (name, second):
        run("schedule", "create", each, idle_lambda, "--every", "1d")
    paused = run("schedule", "pause", name, "nobody", second, exit_code=1)
    assert paused.out == f"{name} is paused\n{second} is paused\n"
    assert paused.err == "piecework: nobody: there is no schedule nobody\n"
    resumed = run("schedule", "resume", name)
    assert resumed.out == f"{name} is resumed\n"
    assert resumed.err.startswith(f"piecework: {name} ticks next at ")
    assert run("schedule", "remove", name, second, "--json").document == {"removed": [name, second]}
    assert run("schedule", "show", name, exit_code=1).err == f"piecework: there is no schedule {name}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "say when it ticks: --cron or --every"),
        (("--every", "5m", "--cron", "@daily"), "say when it ticks: --cron or --every"),
        (("--every", "0"), "it must be longer than 0"),
        (("--every", "soon"), "'soon' is no duration"),
        (("--every", "5m", "--overlap", "queue"), "'queue' is not one of 'allow', 'skip', 'replace'"),
        (("--every", "5m", "--key", "k"), "No such option '--key'"),
        (("--every", "5m", "--jitter", "-1"), "is no duration"),
        (("--every", "5m", "--input", "no-such-file"), "there is no file 'no-such-file'"),
    ],
)
def test_what_a_command_line_lacks_is_told(run, name, idle_lambda, options, message):
    assert message in run("schedule", "create", name, idle_lambda, *options, exit_code=2).err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--every", "10ms"), "every_s is 0.01, but a schedule ticks every second at most"),
        (("--every", "5m", "--timezone", "UTC"), "an interval has no `timezone`"),
        (("--cron", "0 0 30 2 *"), "the cron line '0 0 30 2 *' never ticks: there is no such date"),
        (("--cron", "@daily", "--timezone", "Berlin"), "did you mean Europe/Berlin?"),
        (("--cron", "@daily", "--jitter", "2h"), "jitter_s is 7200, but must be 3600 at most"),
    ],
)
def test_what_the_server_refuses_is_told(run, name, idle_lambda, options, message):
    assert message in run("schedule", "create", name, idle_lambda, *options, exit_code=1).err
    assert run("schedule", "list").rows == []


@pytest.mark.parametrize("wrong", ["12345678", "a b", "", "a/b"])
def test_what_is_no_name_is_told(run, idle_lambda, wrong):
    refused = run("schedule", "create", wrong, idle_lambda, "--every", "5m", exit_code=2)
    assert "is no name: a name has 1 to 100 of the characters A-Z a-z 0-9 . _ -, and is no number" in refused.err


def test_a_lambda_that_does_not_exist_and_a_name_that_is_taken(run, name, idle_lambda):
    assert (
        run("schedule", "create", name, "77", "--every", "5m", exit_code=1).err
        == "piecework: there is no lambda 77\n"
    )
    run("schedule", "create", name, idle_lambda, "--every", "5m")
    taken = run("schedule", "create", name, idle_lambda, "--every", "5m", exit_code=1)
    assert taken.err == f"piecework: there is a schedule named '{name}' already\n"
    assert "say what changes" in run("schedule", "edit", name, exit_code=2).err
    assert "'all' is not one of" in run("schedule", "edit", name, "--reset", "all", exit_code=2).err


def test_a_schedule_that_cannot_submit_shows_why_and_one_that_is_through_that_it_is():
    info = ScheduleInfo(
        id=Id(7), name="n", cron="@daily", timezone="UTC", catch_up="one", overlap="allow", lambda_="gone",
        created_at=1.0, changed_at=1.0, error="there is no lambda named 'gone'",
    )  # fmt: skip
    row = dict(zip(schedule_rows.COLUMNS, schedule_rows.schedule_row(info, 5.0), strict=True))
    assert (row["next"], row["trouble"]) == ("never", "there is no lambda named 'gone'")
    assert schedule_rows.describe_schedule(info, 5.0)["trouble"] == "there is no lambda named 'gone'"
