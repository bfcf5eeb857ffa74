"""Schedules through the client, against a real server."""

import itertools
from pathlib import Path

import pytest

from piecework.client import Conflict, Invalid, NotFound
from piecework.protocol.codes import Code
from piecework.protocol.messages import Backoff, Limits, ScheduleUpdate
from piecework.protocol.secrets import MASK

NUMBERS = itertools.count()


@pytest.fixture
def name():
    return f"by-client-{next(NUMBERS)}"


@pytest.fixture
def made(client, name):
    """A schedule that does not tick while a test looks at it."""
    yield client.create_schedule(name, client.create_lambda(0, "exotic"), b"x", cron="0 0 29 2 *")
    for each in client.schedules():
        client.remove_schedule(each.id)


def test_a_schedule_keeps_a_whole_job(client, name, tmp_path: Path):
    lambda_id = client.create_lambda(0, "exotic")
    file = tmp_path / "big"
    file.write_bytes(b"y" * 100_000)
    made = client.create_schedule(
        name, lambda_id, file, cron="30 2 * * *", timezone="Europe/Berlin", catch_up="all", overlap="skip",
        jitter_s=60, expires_s=3600, paused=True, tags=["near"], priority=3, args=["a"],
        env={"A_KEY": "1", "B": "2"}, timeout_s=9, max_attempts=5, backoff=Backoff(kind="none"),
        limits=Limits(fuel=7), delay_s=2,
    )  # fmt: skip
    assert (made.name, made.cron, made.timezone, made.lambda_) == (
        name,
        "30 2 * * *",
        "Europe/Berlin",
        str(lambda_id),
    )
    assert (made.catch_up, made.overlap, made.jitter_s, made.expires_s) == ("all", "skip", 60.0, 3600.0)
    assert made.paused_at
    assert not made.upcoming
    job = made.job
    assert (job.tags, job.priority, job.args, job.timeout_s) == (["near"], 3, ["a"], 9.0)
    assert job.env == {"A_KEY": MASK, "B": "2"}
    assert (job.max_attempts, job.backoff, job.limits, job.delay_s) == (
        5,
        Backoff(kind="none"),
        Limits(fuel=7),
        2.0,
    )
    assert client.read(job.input) == b"y" * 100_000
    client.remove_schedule(name)


def test_a_schedule_is_found_by_id_and_by_name(client, made, name):
    assert client.schedule(name) == client.schedule(made.id) == client.schedule(str(made.id)) == made
    assert next(client.schedules(1)).id == made.id
    assert len(made.upcoming) == 5


def test_a_schedule_is_changed_paused_resumed_and_removed(client, made, name):
    changed = client.change_schedule(name, ScheduleUpdate(every_s=3600.0, job={"args": ["a"], "env": {"A": "1"}}))
    assert (changed.every_s, changed.job.args, changed.job.env) == (3600.0, ["a"], {"A": "1"})
    assert client.pause_schedule(made.id).paused_at
    assert client.resume_schedule(made.id).next_at
    assert client.remove_schedule(name) == f"schedule {name} is removed"
    for call in (client.schedule, client.remove_schedule, client.pause_schedule, client.run_schedule):
        with pytest.raises(NotFound) as refusal:
            call(name)
        assert refusal.value.code == Code.SCHEDULE_NOT_FOUND


def test_running_it_gives_a_job_once_for_each_key(client, made, name):
    first, again, other = (client.run_schedule(name, key) for key in ("a-key", "a-key", None))
    assert first == again != other
    assert [tick.job for tick in client.ticks(name)] == [other, first]
    assert [tick.job for tick in client.ticks(made.id, limit=1)] == [other]
    assert [job.id for job in client.jobs(schedule=name)] == [other, first]
    assert client.count_jobs(schedule=made.id) == 2
    assert client.job(first).schedule == made.id


def test_what_is_wrong_raises_what_fits(client, made, name):
    with pytest.raises(Conflict, match="there is a schedule named") as refusal:
        client.create_schedule(name, client.create_lambda(0, "exotic"), every_s=60)
    assert refusal.value.code == Code.SCHEDULE_EXISTS
    for wrong in ({"cron": "nonsense"}, {"every_s": 0}, {}, {"cron": "@daily", "timezone": "Berlin"}):
        with pytest.raises(Invalid):
            client.create_schedule("new", client.create_lambda(0, "exotic"), **wrong)
    with pytest.raises(NotFound):
        client.create_schedule("new", 77, every_s=60)
    with pytest.raises(ValueError, match="is no name"):
        client.schedule("a/b")
