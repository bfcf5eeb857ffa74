"""What a command says while it waits, and when Ctrl-C ends it."""

import pytest

from piecework.cli.queue.jobs.waiting import AGAIN_S, FIRST_S, SAME_S, WaitNotes
from piecework.client import Client, ServerUnreachable
from piecework.client.queue.jobs.results import JobWait
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobInfo, JobLambda, WaitReason
from piecework.protocol.states import JobState


class World:
    """A job, a clock, and what was told."""

    def __init__(self, capsys):
        self.now, self.wanted, self.asked = 100.0, Id(7), 0
        self.info = None
        self.notes = WaitNotes(self, lambda: self.wanted, lambda: self.now)
        self._capsys = capsys

    def job(self, id_):
        self.asked += 1
        if self.info is None:
            raise ServerUnreachable("http://server.test", "connection refused")
        return self.info

    def waits(self, reason=None, text="", state=JobState.ENQUEUED):
        self.info = JobInfo(
            id=Id(7), state=state, input=Content(id=Id(0)), tags=[],
            lambda_=JobLambda(id=Id(1), runtime="wasi", codex=Id(2)),
            priority=0, attempt=0, max_attempts=3, created_at=0.0, worker=Id(9),
            **({"advice": text, "waits_for": reason} if reason else {}),
        )  # fmt: skip

    def pass_s(self, seconds):
        """Return what was told meanwhile."""
        for _ in range(round(seconds)):
            self.now += 1
            self.notes.tick()
        return self._capsys.readouterr().err.splitlines()


@pytest.fixture
def world(capsys):
    world = World(capsys)
    world.notes.tick()
    return world


def test_a_reason_is_told_once_it_has_lasted_some_seconds(world):
    world.waits(WaitReason.BUSY, "all are busy")
    assert world.pass_s(FIRST_S - 1) == []
    assert world.pass_s(1) == ["piecework: job 7 waits: all are busy"]
    assert world.pass_s(10 * SAME_S) == [], "it is told once"


def test_another_reason_is_told_and_so_is_the_start(world):
    world.waits(WaitReason.NO_WORKER, "no worker is there")
    world.pass_s(FIRST_S)
    world.waits(WaitReason.BUSY, "all are busy")
    assert world.pass_s(AGAIN_S) == ["piecework: job 7 waits: all are busy"]
    world.waits(state=JobState.RUNNING)
    assert world.pass_s(2 * AGAIN_S) == ["piecework: job 7 runs now, on worker 9"]


def test_numbers_that_change_are_told_now_and_then(world):
    told = []
    for ahead in range(100, 0, -1):
        world.waits(WaitReason.QUEUED, f"{ahead} jobs are ahead of it")
        told += world.pass_s(AGAIN_S)
    assert len(told) == pytest.approx(100 * AGAIN_S / SAME_S, abs=1)


def test_jobs_that_follow_each_other_quickly_are_not_asked_about(world):
    for number in range(20):
        world.wanted = Id(number + 1)
        world.pass_s(2)
    world.wanted = None
    world.pass_s(20)
    assert world.asked == 0


def test_a_server_that_is_away_ends_no_wait(world):
    assert world.pass_s(20) == []
    assert world.asked > 1


def interrupt(*_, **__):
    raise KeyboardInterrupt
    yield


@pytest.fixture
def ctrl_c(monkeypatch):
    """Ctrl-C comes as soon as a command waits for a job."""
    monkeypatch.setattr(Client, "follow_log", interrupt)
    monkeypatch.setattr(Client, "ended", interrupt)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("command", [("submit", "--wait"), ("wait",), ("log", "-f")], ids=" ".join)
def test_a_job_that_goes_on_after_ctrl_c_is_named(run, client, idle_lambda, command):
    if command[0] == "submit":
        ran = run("job", command[0], idle_lambda, *command[1:], exit_code=130)
        job = next(client.jobs(lambda_=idle_lambda)).id
    else:
        job = client.submit(idle_lambda)
        ran = run("job", *command, job, exit_code=130)
    assert f"piecework: interrupted; job {job} goes on: 'piecework job wait {job}' waits for it" in ran.err
    assert client.job(job).state is JobState.ENQUEUED


@pytest.mark.usefixtures("ctrl_c")
def test_jobs_of_a_directory_go_on_after_ctrl_c(run, idle_lambda, tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(name)
    ran = run("job", "submit", idle_lambda, "--input-dir", tmp_path, "--wait", exit_code=130)
    assert "piecework: interrupted; 3 jobs go on: 'piecework job list' shows them" in ran.err


def test_ctrl_c_while_a_job_is_submitted_says_that_it_may_be_there(run, idle_lambda, monkeypatch):
    monkeypatch.setattr(Client, "submit", lambda *_, **__: next(interrupt()))
    ran = run("job", "submit", idle_lambda, exit_code=130)
    assert f"the job may have been submitted: 'piecework job list --lambda {idle_lambda}' shows it" in ran.err


def test_run_says_that_its_job_was_cancelled(run, client, monkeypatch, tmp_path):
    monkeypatch.setattr(Client, "follow_log", interrupt)
    (tmp_path / "x.lua").write_text("print(1)")
    ran = run("run", tmp_path / "x.lua", "--runtime", "lua5.4", exit_code=130)
    job = next(client.jobs()).id
    assert f"piecework: interrupted; job {job} was cancelled\n" in ran.err
    assert client.job(job).state is JobState.CANCELLED


def test_run_says_when_its_job_could_not_be_cancelled(run, monkeypatch, tmp_path):
    def fail(*_):
        raise ServerUnreachable("http://server.test", "connection refused")

    monkeypatch.setattr(Client, "follow_log", interrupt)
    monkeypatch.setattr(Client, "cancel", fail)
    (tmp_path / "x.lua").write_text("print(1)")
    ran = run("run", tmp_path / "x.lua", "--runtime", "lua5.4", exit_code=130)
    assert "was not cancelled: no answer from http://server.test" in ran.err


def test_map_cancels_and_counts_what_has_not_ended(run, client, idle_lambda, monkeypatch):
    looked = []
    look = JobWait.look

    def interrupt_first(*args, **options):
        looked.append(args)
        return look(*args, **options) if len(looked) > 1 else next(interrupt())

    monkeypatch.setattr(JobWait, "look", interrupt_first)
    ran = run("job", "map", idle_lambda, "-", given=b"a\nb\nc\n", exit_code=130)
    assert "piecework: interrupted; 3 of its 3 jobs were cancelled\n" in ran.err
    assert {info.state for info in client.jobs(lambda_=idle_lambda)} == {JobState.CANCELLED}
