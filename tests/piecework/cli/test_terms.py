"""When jobs run and how they are tried again, from the command line."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from click.shell_completion import ShellComplete
from patience import until

from piecework.cli.main import main
from piecework.cli.options.terms import BACKOFF, KINDS
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Backoff
from piecework.protocol.states import JobState


def submit(run, client, lambda_id, *options):
    ran = run("job", "submit", lambda_id, *options)
    return client.job(ran.out.strip()), ran.err


def test_delays_take_units(run, client, idle_lambda):
    info, _ = submit(run, client, idle_lambda, "--delay", "1h30m")
    assert info.due_at - info.created_at == pytest.approx(5400, abs=0.01)


def test_a_moment_with_a_zone_is_that_moment(run, client, idle_lambda):
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    info, told = submit(run, client, idle_lambda, "--at", tomorrow.isoformat())
    assert (info.state, info.due_at) == (JobState.WAITING, tomorrow.timestamp())
    assert "it starts at " in told


@pytest.mark.usefixtures("berlin")
def test_a_moment_without_a_zone_is_local_time(run, client, idle_lambda):
    info, told = submit(run, client, idle_lambda, "--at", "2099-07-01 12:00")
    assert info.due_at == datetime(2099, 7, 1, 10, tzinfo=UTC).timestamp()
    assert told == "piecework: it starts at 2099-07-01 12:00:00+02:00\n"


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_end_of_waiting_is_a_moment_or_a_duration(run, client, idle_lambda):
    info, _ = submit(run, client, idle_lambda, "--expires", "2h")
    assert info.expires_at - info.created_at == pytest.approx(7200, abs=5)
    info, _ = submit(run, client, idle_lambda, "--expires", "2099-01-01T00:00Z")
    assert info.expires_at == datetime(2099, 1, 1, tzinfo=UTC).timestamp()


def test_a_paused_job_is_resumed_and_paused_again(run, client, idle_lambda):
    info, _ = submit(run, client, idle_lambda, "--paused")
    assert info.state is JobState.PAUSED
    run("job", "resume", info.id)
    assert client.job(info.id).state is JobState.ENQUEUED
    assert run("job", "pause", info.id, "--json").document == {"paused": [str(info.id)]}
    assert client.job(info.id).state is JobState.PAUSED


def test_how_a_job_is_tried_again_reaches_the_server(run, client, worker, lambda_id):
    failing = ("job", "submit", lambda_id, "--arg", "fail", "--arg", "no")
    job = run(*failing, "--backoff", "fixed:1h", "--retry-on", "guest,timeout").out.strip()
    until(lambda: client.job(job).state is JobState.WAITING)
    info = client.job(job)
    assert info.due_at - info.started_at >= 3600
    final = run(*failing, "--wait", "--retry-on", "timeout", exit_code=1)
    assert "(guest)" in final.err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--delay", "soon"), "'soon' is no duration: write seconds"),
        (("--timeout", "nan"), "no duration between 0 and ten years"),
        (("--timeout", "0"), "it must be longer than 0"),
        (("--at", "tomorrow"), "'tomorrow' is no date and time, such as 20"),
        (("--at", "5m"), "'5m' is a duration: give it with --delay"),
        (("--expires", "2020-01-01"), "which has passed"),
        (("--expires", "soon"), "or a duration from now, such as 2h"),
        (("--backoff", "linear"), "is not exponential[:FIRST[:LONGEST]], fixed:PAUSE or none"),
        (("--backoff", "none:5"), "is not exponential"),
        (("--backoff", "exponential:5m:1m"), "the first pause is longer than the longest"),
        (("--backoff", "fixed:x"), "'x' is no duration"),
        (("--retry-on", "timeout,luck"), "'luck' is no kind of failure: choose of guest, trap"),
        (("--retry-on", "load"), "'load' is never worth another attempt"),
        (("--max-attempts", "101"), "101 is not in the range 1<=x<=100"),
    ],
    ids=" ".join,
)
def test_a_wrong_term_is_a_mistake_that_says_what_is_right(run, idle_lambda, options, complaint):
    assert complaint in " ".join(run("job", "submit", idle_lambda, *options, exit_code=2).err.split())


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("none", Backoff(kind="none")),
        ("fixed:500ms", Backoff(kind="fixed", base_s=0.5)),
        ("fixed:1h", Backoff(kind="fixed", base_s=3600, cap_s=3600)),
        ("exponential", Backoff()),
        ("Exponential:2s:1m", Backoff(base_s=2, cap_s=60)),
    ],
)
def test_backoff_is_read_with_its_pauses(text, meant):
    assert BACKOFF.convert(text, None, None) == meant


def test_kinds_are_read_in_any_case_with_spaces():
    assert KINDS.convert("Timeout, memory", None, None) == [ErrorKind.TIMEOUT, ErrorKind.MEMORY]


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (["--retry-on"], "timeout,m", ["timeout,memory"]),
        (["--retry-on"], "t", ["trap", "timeout"]),
        (["--backoff"], "e", ["exponential"]),
    ],
)
def test_terms_are_completed(words, incomplete, offered):
    complete = ShellComplete(main, {}, "piecework", "_PIECEWORK_COMPLETE")
    found = complete.get_completions(["job", "submit", *words], incomplete)
    assert [item.value for item in found] == offered
