"""Which calls of a served function are recorded, and what becomes of the files."""

import itertools
from pathlib import Path

import pytest
from guest_texts import build, read_guest

from piecework.http.exchange import Request, Response
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from piecework.protocol.messages.outcomes import Digests
from piecework.receipts.recorded_calls import CALL_MAX_BYTES, RecordedCall
from piecework.worker_agent.guests.frames import Done
from piecework.worker_agent.serving.function import Function
from piecework.worker_agent.serving.recording import WAITING_MAX, CallRecorder, RecordingPlan
from piecework.worker_agent.tasks import File, Result

USAGE = Usage(fuel=7, memory_bytes=65_536, digests=Digests(module="", input="", memory="0" * 64, journal="1" * 64))


@pytest.fixture
def version(tmp_path):
    path = tmp_path / "echo.wasm"
    path.write_bytes(build(read_guest("wasi/echo")))
    return Function(file=path, mode="http").read(tmp_path)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "calls"
    made.mkdir()
    return made


@pytest.fixture
def recorder(folder):
    """Return a function that makes a recorder."""

    def make(draws=(0.0,), **plan):
        draw = itertools.cycle(draws).__next__
        plan = RecordingPlan(folder=folder, **plan)
        return CallRecorder(plan, clock=lambda: 5.5, draw=draw, draw_seed=lambda: bytes(32))

    return make


ANSWER = Response(200, (("Content-Type", "text/plain"),), b"hi")


def list_files(folder):
    return sorted(folder.iterdir())


def end(response=ANSWER, **fields):
    return Done(1, Result(**{"usage": USAGE, "journal": b"journal"} | fields), response)


def test_a_share_of_the_calls_is_recorded(recorder):
    made = recorder((0.0, 0.24, 0.25, 0.9), share=0.25)
    assert [made.picks(Request()) for _ in range(8)] == [True, True, False, False] * 2
    assert made.omitted == {}


@pytest.mark.parametrize(
    "request_",
    [
        Request(headers=(("Authorization", "Bearer x"),)),
        Request(headers=(("Cookie", "a=b"),)),
        Request(headers=(("X-Api-Key", "x"),)),
        Request(uri="/a?b=c&access_token=x"),
        Request(uri="/?" + "a&" * 1000),
    ],
)
def test_calls_with_secrets_are_not_recorded(recorder, request_):
    made = recorder()
    assert not made.picks(request_)
    assert made.omitted == {"secrets": 1}


def test_secrets_that_are_named_are_kept(recorder):
    made = recorder(kept=frozenset({"x-api-key", "token"}))
    assert made.picks(Request(uri="/?token=1", headers=(("X-Api-Key", "x"), ("Idempotency-Key", "y"))))
    assert not made.picks(Request(headers=(("X-Api-Key", "x"), ("Cookie", "y"))))


def test_a_call_is_kept_with_all_that_it_was(recorder, folder, version):
    made = recorder()
    request = Request("PUT", "/a?b=c", (("Accept", "text/plain"), ("accept", "a/b")), b"body")
    draft = made.prepare(version, request, 8080)
    made.keep(draft, end(), 0.25)
    [file] = list_files(folder)
    call = RecordedCall.read_from(file.read_bytes())
    assert call.request == Request("PUT", "/a?b=c", (("Accept", "text/plain, a/b"),), b"body")
    assert call.request == draft.frame.serving.request, "what it was asked is what a replay asks"
    assert call.response == ANSWER
    assert (call.record.at, call.record.took_s, call.record.memory_bytes) == (5.5, 0.25, 65_536)
    subject, result = call.claim.subject, call.claim.result
    assert (subject.module, subject.served, subject.profile) == (version.task.checksum, True, "record")
    assert (result.state, result.fuel, result.comparable) == ("Finished", 7, True)


def test_a_failure_is_kept_and_another_end_is_not(recorder, folder, version):
    made = recorder()
    lost = [
        end(cancelled=True),
        end(unfit=True),
        end(error=JobError(kind=ErrorKind.WORKER, message="x")),
        end(usage=Usage()),
        end(None),
    ]
    for each in lost:
        made.keep(made.prepare(version, Request(), 1), each, 0.1)
    assert list_files(folder) == []
    made.keep(made.prepare(version, Request(), 1), end(error=JobError(kind=ErrorKind.TRAP, message="x")), 0.1)
    [file] = list_files(folder)
    call = RecordedCall.read_from(file.read_bytes())
    assert (call.response, call.claim.result.state) == (None, "Fail_Execution")


def test_what_is_too_large_is_not_kept(recorder, folder, version):
    made = recorder()
    assert not made.picks(Request(body=bytes(CALL_MAX_BYTES)))
    made.keep(made.prepare(version, Request(), 1), end(Response(body=bytes(CALL_MAX_BYTES))), 0.1)
    assert (list_files(folder), made.omitted) == ([], {"size": 2})


def test_an_answer_that_sets_a_cookie_is_not_kept(recorder, folder, version):
    made = recorder()
    made.keep(made.prepare(version, Request(), 1), end(Response(headers=(("Set-Cookie", "a=b"),))), 0.1)
    assert (list_files(folder), made.omitted) == ([], {"secrets": 1})


def test_no_more_files_than_a_few_wait(recorder, folder, version):
    made = recorder()
    for _ in range(WAITING_MAX):
        assert made.picks(Request())
        made.keep(made.prepare(version, Request(), 1), end(), 0.1)
    assert not made.picks(Request())
    assert made.omitted == {"haste": 1}
    list_files(folder)[0].unlink()
    assert made.picks(Request())


def test_a_journal_in_a_file_is_read_and_removed(recorder, folder, version):
    made = recorder()
    draft = made.prepare(version, Request(), 1)
    spool = Path(draft.frame.journal_spool)
    spool.write_bytes(b"a long journal")
    made.keep(draft, end(journal=File(str(spool))), 0.1)
    [kept] = list_files(folder)
    assert b"a long journal" in RecordedCall.read_from(kept.read_bytes()).record.parts
    assert not spool.exists()


def test_a_disk_that_takes_nothing_fails_no_call(recorder, folder, version):
    made = recorder()
    draft = made.prepare(version, Request(), 1)
    folder.rmdir()
    assert made.picks(Request())
    made.keep(draft, end(), 0.1)
    assert not folder.exists()
