import itertools
import sys

import pytest

from piecework.client import Client, JobCancelled, JobFailed, NotFound, ServerUnreachable, StillRunning
from piecework.client.queue.jobs import mapping
from piecework.client.queue.jobs.jobs import JOBS_PER_BODY
from piecework.client.queue.jobs.progress import open_progress
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobCreated, JobList, JobSubmit
from piecework.protocol.states import JobState

WORDS = [f"word {number}" for number in range(120)]


@pytest.fixture
def shout(client, worker):
    return client.create_lambda(0, "test")


@pytest.fixture
def picky(client, worker):
    """A lambda that shouts, but fails on ``odd``."""
    return client.create_lambda(0, "test", args=["fail-on", "odd"])


@pytest.fixture
def exotic(client):
    """A lambda that no worker can run."""
    return client.create_lambda(0, "exotic")


class Sent:
    """A client's requests, as they pass by."""

    def __init__(self, client, monkeypatch):
        self.bodies = []
        call = client.transport.call

        def listen(request, reply, **more):
            if isinstance(request.body, JobSubmit):
                self.bodies.append(request.body)
            return call(request, reply, **more)

        monkeypatch.setattr(client.transport, "call", listen)

    @property
    def batches(self):
        return [len(body.jobs) for body in self.bodies]


@pytest.fixture
def sent(client, monkeypatch):
    client.clock = lambda: 0.0  # no input comes late, however busy the machine is
    return Sent(client, monkeypatch)


def test_outputs_come_in_the_order_of_the_inputs(client, shout):
    assert list(client.map(shout, WORDS)) == [word.upper().encode() for word in WORDS]


def test_every_kind_of_input_is_taken(client, shout, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"file")
    large = b"large" * 10_000
    outputs = list(client.map(shout, [b"bytes", "text", file, None, {"a": 1}, client.upload(b"blob"), large]))
    assert outputs == [b"BYTES", b"TEXT", b"FILE", b"", b'{"A":1}', b"BLOB", large.upper()]


def test_no_inputs_give_no_outputs_and_send_nothing(client, shout, sent):
    assert list(client.map(shout, [])) == []
    assert sent.bodies == []


def test_nothing_is_submitted_before_the_first_result_is_asked_for(client, shout, sent):
    results = client.map(shout, WORDS)
    assert sent.bodies == []
    assert next(results) == b"WORD 0"
    assert sent.batches == [120]


def test_endless_inputs_keep_within_the_window(client, shout, sent):
    drawn = itertools.count()
    results = client.map(shout, (str(number) for number in drawn), window=10)
    assert [int(output) for output in itertools.islice(results, 57)] == list(range(57))
    results.close()
    assert next(drawn) <= 57 + 10
    assert max(sent.batches) <= 10
    assert len(sent.batches) < 20, "the window is filled by halves, not job by job"


def test_a_window_of_one_runs_one_job_after_the_other(client, shout, sent):
    assert list(client.map(shout, ["a", "b", "c"], window=1)) == [b"A", b"B", b"C"]
    assert sent.batches == [1, 1, 1]


@pytest.mark.slow
def test_many_inputs_travel_by_the_thousand(client, exotic, sent):
    client.clock = lambda: 0.0  # inputs that come slowly travel earlier
    with pytest.raises(StillRunning):
        list(client.map(exotic, ["x"] * 2500, window=5000, wait_s=0, cancel=False))
    assert sent.batches == [JOBS_PER_BODY, JOBS_PER_BODY, 500]
    assert len({body.key for body in sent.bodies}) == 3


def test_large_inputs_travel_in_more_batches(client, exotic, sent, monkeypatch):
    monkeypatch.setattr(mapping, "BYTES_PER_BODY", 10_000)
    with pytest.raises(StillRunning):
        list(client.map(exotic, [b"x" * 4000] * 7, wait_s=0))
    assert sent.batches == [3, 3, 1]


def test_inputs_that_come_slowly_are_submitted_as_they_come(client, shout, sent):
    client.clock = itertools.count().__next__  # a second passes whenever someone looks
    assert list(client.map(shout, iter(["one", "two", "three"]))) == [b"ONE", b"TWO", b"THREE"]
    assert sent.batches == [1, 1, 1]


def test_a_failed_job_raises_at_its_place(client, picky):
    results = client.map(picky, ["a", "b", "odd", "c"], max_attempts=1)
    assert [next(results), next(results)] == [b"A", b"B"]
    with pytest.raises(JobFailed, match="not odd"):
        next(results)
    assert list(results) == []


def test_failures_are_returned_when_asked_for(client, picky):
    first, second, third = client.map(picky, ["a", "odd", "c"], errors="return", max_attempts=1)
    assert (first.output, third.output) == (b"A", b"C")
    assert (second.ok, second.output, second.info.error.message) == (False, b"", "not odd")


def test_without_order_a_result_does_not_wait_for_those_before_it(client, shout, exotic):
    held = client.submit(exotic, "never", key="held-0")

    async def first_is_held(batch):
        return [held, *(await post_batch(batch))[1:]]

    post_batch, client.core.post_batch = client.core.post_batch, first_is_held
    results = client.map(shout, ["never", "a", "b"], ordered=False, cancel=False)
    assert {next(results), next(results)} == {b"A", b"B"}
    client.cancel(held)
    with pytest.raises(JobCancelled):
        next(results)


@pytest.mark.slow
def test_a_mapping_that_ends_early_cancels_what_has_not_ended(client, exotic, sent):
    with pytest.raises(StillRunning) as caught:
        list(client.map(exotic, WORDS, wait_s=0, tags=["early"]))
    assert len(caught.value.unfinished) == len(WORDS)
    assert {job.state for job in client.wait(caught.value.unfinished)} == {JobState.CANCELLED}


@pytest.mark.parametrize(("cancel", "state"), [(True, JobState.CANCELLED), (False, JobState.ENQUEUED)])
def test_closing_a_mapping_cancels_what_has_not_ended_unless_told_not_to(client, exotic, cancel, state):
    submitted = []

    async def end_first(batch):
        submitted.extend(await post_batch(batch))
        client.cancel(submitted[0])
        return submitted

    post_batch, client.core.post_batch = client.core.post_batch, end_first
    results = client.map(exotic, ["a", "b", "c"], errors="return", cancel=cancel)
    assert not next(results).ok
    results.close()
    assert [client.job(job).state for job in submitted] == [JobState.CANCELLED, state, state]


def test_ctrl_c_while_it_waits_cancels_what_has_not_ended(client, exotic, monkeypatch):
    call = client.transport.call

    def interrupt(request, reply, **more):
        if reply is JobList:
            raise KeyboardInterrupt
        return call(request, reply, **more)

    monkeypatch.setattr(client.transport, "call", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(client.map(exotic, ["x", "y"]))
    monkeypatch.undo()
    assert [job.state for job in client.jobs(lambda_=exotic)] == [JobState.CANCELLED] * 2


@pytest.mark.slow
def test_cancelling_gives_up_when_the_server_is_gone(script):
    script.answer(JobCreated(ids=[Id(1), Id(2)]))
    script.answer(JobList(jobs=[]))
    script.answer(hang_up=True)
    with Client(script.url) as client, pytest.raises(StillRunning):
        list(client.map(7, ["a", "b"], wait_s=0))
    assert [(seen.method, seen.path) for seen in script.seen[2:]] == [("DELETE", "/job/2")]


def test_a_batch_whose_answer_was_lost_is_submitted_again_under_its_key(client, shout, monkeypatch):
    lost = []
    send = client.transport._send

    def lose_first(request, body, *rest, **more):
        reply = send(request, body, *rest, **more)
        if request.path == "/job" and request.method == "POST" and not lost:
            lost.append(body)
            raise ServerUnreachable(client.url, "the answer was lost")
        return reply

    monkeypatch.setattr(client.transport, "_send", lose_first)
    assert list(client.map(shout, ["a", "b"])) == [b"A", b"B"]
    assert len(lost) == 1
    assert len(list(client.jobs(lambda_=shout))) == 2


def test_with_a_key_the_same_call_takes_up_where_it_was(client, shout):
    options = {"key": "resumed", "cancel": False}
    assert next(client.map(shout, WORDS, **options)) == b"WORD 0"
    assert list(client.map(shout, WORDS, **options)) == [word.upper().encode() for word in WORDS]
    assert len(list(client.jobs(lambda_=shout))) == len(WORDS)


@pytest.mark.slow
def test_outputs_beyond_what_is_kept_are_read_when_their_turn_comes(client, shout, monkeypatch):
    monkeypatch.setattr(mapping, "KEPT_BYTES", 100)
    read = []
    real = client.core.read
    monkeypatch.setattr(client.core, "read", lambda blob: read.append(blob) or real(blob))
    assert list(client.map(shout, WORDS)) == [word.upper().encode() for word in WORDS]
    assert len(read) > len(WORDS) // 2


def test_what_the_inputs_raise_comes_out_and_ends_the_rest(client, shout):
    def spoilt():
        yield "a"
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        list(client.map(shout, spoilt()))


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ("text", {}, TypeError, "give a list of inputs"),
        (b"bytes", {}, TypeError, "give a list of inputs"),
        (["a"], {"errors": "ignore"}, ValueError, "errors is 'ignore'"),
        (["a"], {"window": 0}, ValueError, "a window of 0 jobs is too small"),
    ],
)
def test_mistakes_are_told_at_once(client, shout, inputs, options, error, message):
    with pytest.raises(error, match=message):
        client.map(shout, inputs, **options)


def test_an_unknown_lambda_is_told_with_the_first_result(client):
    with pytest.raises(NotFound):
        next(client.map(987_654, ["a"]))


def test_progress_is_told_how_many_have_ended_of_how_many(client, shout):
    told = []
    list(client.map(shout, WORDS, progress=lambda *figures: told.append(figures)))
    assert told[-1] == (len(WORDS), len(WORDS))
    assert told == sorted(told)
    list(client.map(shout, iter(WORDS), progress=lambda *figures: told.append(figures)))
    assert told[-1] == (len(WORDS), None)


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch, capsys):
    with open_progress(True, 3) as tell:
        tell(3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with open_progress(True, 3) as tell:
        tell(3)
    assert "3/3" in capsys.readouterr().err
