"""Directories that jobs have alone: made from the cache, collected from at their end, and gone with the lease."""

import hashlib
import os
from pathlib import Path

import fake_control_server
import pytest
from fake_control_server import unreachable
from hand_executor import result
from msgspec import UNSET
from msgspec.structs import replace
from patience import PATIENCE_S, until

from piecework.client import Busy, TooLarge
from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.job_files import sum_files
from piecework.protocol.messages import (
    Content,
    Digests,
    JobError,
    LeasedFile,
    LeasedFolder,
    LeasedJob,
    LeasedLambda,
    LeaseRef,
    Limits,
)
from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.work import collecting
from piecework.worker_agent.jobs.work.inputs import find_run_seed
from piecework.worker_agent.jobs.work.job_folders import JobFolders

REF = LeaseRef(job=Id(5), lease="abc")


@pytest.fixture
def blob(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(b"bytes")
    return path


def test_a_folder_has_the_files_until_it_is_released(tmp_path, blob):
    folders = JobFolders(tmp_path / "inputs")
    folder = folders.make_inputs(REF, {"a": blob, "empty": None})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"bytes", "empty": b""}
    assert (folder / "a").stat().st_ino == blob.stat().st_ino
    folders.release([REF, LeaseRef(job=Id(6), lease="x")])
    assert not folder.exists()
    assert blob.read_bytes() == b"bytes"
    folders.release([REF])


def test_a_file_that_cannot_have_two_names_is_copied(tmp_path, blob, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    folder = JobFolders(tmp_path / "inputs").make_inputs(REF, {"a": blob})
    assert (folder / "a").read_bytes() == b"bytes"


def test_what_an_earlier_process_left_is_removed(tmp_path, blob):
    folder = JobFolders(tmp_path / "inputs").make_inputs(REF, {"a": blob})
    JobFolders(tmp_path / "inputs")
    assert not folder.exists()


def test_a_job_gets_the_files_and_they_go_with_its_lease(agent, server):
    executor = agent.parts.executor
    job = server.add_job(b"in", files={"a": b"one", "b": b""})
    agent.parts.contracting.step()
    assert executor.wait_for(1)
    folder = Path(executor.tasks[0].task.inputs)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"one", "b": b""}
    executor.finish(job)
    agent.lease_table.wait_until_idle(5)
    agent.parts.contracting.step()
    assert not folder.exists()


def test_a_job_whose_file_is_gone_fails_with_kind_input(agent, server):
    job = server.add_job(files={"a": b"one"})
    gone = server.jobs[job].files["a"]
    del server.blobs[gone]
    agent.parts.contracting.step()
    agent.lease_table.wait_until_idle(5)
    agent.parts.contracting.step()
    [outcome] = server.jobs[job].accepted
    assert outcome.error.kind == "input"
    assert outcome.error.message == f"the blob {gone} of the file a does not exist"


def test_a_contract_says_what_its_agent_knows(agent, server):
    server.add_job(b"in")
    agent.parts.contracting.step()
    assert server.sent("contract")[-1].tags == ["inputs", "files", "replay"]


# The directory that a job has for itself


@pytest.fixture
def executor(agent):
    return agent.parts.executor


@pytest.fixture
def start(agent, executor, server):
    """Return a function that has a job run, and returns it with its own directory."""

    def start(folder=None, outputs=("*.o",), **fields):
        job = server.add_job(folder=folder or {}, outputs=outputs, **fields)
        agent.parts.contracting.step()
        assert executor.wait_for(1)
        return job, Path(executor.tasks[0].task.folder.path)

    return start


def hand_in(agent, server, job):
    """Wait for a job's end and return the outcome that the server accepted."""
    assert agent.lease_table.wait_until_idle(PATIENCE_S)
    agent.parts.contracting.step()
    return server.jobs[job].accepted[0]


def read(server, outcome):
    return {
        each.name: each.content.read() if isinstance(each.content, Content) else server.blobs[int(each.content)]
        for each in outcome.made
    }


def test_a_job_has_its_files_and_writes_to_copies_of_them(agent, executor, server, start):
    job, folder = start({"src/a.c": b"one", "b": b""})
    task = executor.tasks[0].task
    assert (folder / "src" / "a.c").read_bytes() == b"one"
    assert (folder / "b").read_bytes() == b""
    assert (folder / "src" / "a.c").stat().st_nlink == 1
    assert (task.folder.outputs, len(task.folder.checksum)) == (("*.o",), 64)
    executor.finish(job)
    assert hand_in(agent, server, job).made == []
    until(lambda: not folder.exists())


def test_files_that_fit_go_to_the_server_small_ones_with_the_outcome(agent, executor, server, start):
    job, folder = start({"a.c": b"one"})
    large = b"y" * 40_000
    for name, data in (("a.o", b"obj"), ("b.o", large), ("c.o", b""), ("notes", b"none asked")):
        (folder / name).write_bytes(data)
    executor.finish(job, b"said")
    outcome = hand_in(agent, server, job)
    assert read(server, outcome) == {"a.o": b"obj", "b.o": large, "c.o": b""}
    assert outcome.output.read() == b"said"
    assert server.sent("upload") == [large]


def test_small_files_together_are_no_larger_than_one(agent, executor, server, start):
    job, folder = start()
    for number in range(4):
        (folder / f"{number}.o").write_bytes(b"z" * 12_000)
    executor.finish(job)
    outcome = hand_in(agent, server, job)
    assert [isinstance(each.content, Content) for each in outcome.made] == [True, True, False, False]


def test_uploads_of_files_are_repeated_while_the_server_is_away(agent, executor, server, start):
    job, folder = start()
    (folder / "a.o").write_bytes(b"y" * 40_000)
    for error in (unreachable(), Busy(503, 8, "the disk is full")):
        server.fail_once("upload", error)
    executor.finish(job)
    assert read(server, hand_in(agent, server, job)) == {"a.o": b"y" * 40_000}


def test_a_file_that_the_server_does_not_take_fails_the_job(agent, executor, server, start):
    job, folder = start()
    (folder / "a.o").write_bytes(b"y" * 40_000)
    server.fail_once("upload", TooLarge(413, 7, "too large"))
    executor.finish(job)
    error = hand_in(agent, server, job).error
    assert (error.kind, error.message) == (ErrorKind.OUTPUT, "the server refuses the output: too large")


def test_too_many_files_fail_the_job(agent, executor, server, start, monkeypatch):
    monkeypatch.setattr(collecting, "FILES_MAX", 1)
    job, folder = start()
    (folder / "a.o").touch()
    (folder / "b.o").touch()
    executor.finish(job)
    error = hand_in(agent, server, job).error
    assert (error.kind, error.message) == (ErrorKind.OUTPUT, "more than 1 files fit `outputs`")


def test_a_guest_that_says_that_it_failed_gives_all_of_its_files_back(agent, executor, server, start):
    job, folder = start()
    (folder / "a.o").write_bytes(b"y" * 2**21)
    error = JobError(kind=ErrorKind.GUEST, message="exit code 1")
    executor._end(executor._find(job), result(error=error, exit_code=1))
    outcome = hand_in(agent, server, job)
    assert (outcome.state, list(read(server, outcome))) == (JobState.FAILED, ["a.o"])


def test_of_a_guest_that_was_stopped_little_is_given_back(agent, executor, server, start):
    job, folder = start()
    (folder / "a.o").write_bytes(b"small")
    (folder / "b.o").write_bytes(b"y" * 2**20)
    executor.fail(job, ErrorKind.TIMEOUT, "too long")
    outcome = hand_in(agent, server, job)
    assert (outcome.error.kind, read(server, outcome)) == (ErrorKind.TIMEOUT, {"a.o": b"small"})


def test_a_job_that_failed_fails_as_it_did_when_its_files_are_too_many(
    agent, executor, server, start, monkeypatch
):
    monkeypatch.setattr(collecting, "FILES_MAX", 0)
    job, folder = start()
    (folder / "a.o").touch()
    executor.fail(job)
    outcome = hand_in(agent, server, job)
    assert (outcome.error.kind, outcome.made) == (ErrorKind.TRAP, UNSET)


def test_code_that_could_not_be_loaded_gives_nothing_back(agent, executor, server, start):
    job, folder = start({"a.o": b"given"})
    executor.fail(job, ErrorKind.LOAD)
    assert hand_in(agent, server, job).made is UNSET
    until(lambda: not folder.exists())


def test_names_that_cannot_be_given_back_are_told_in_the_log(agent, executor, server, start):
    job, folder = start()
    (folder / "new\nline.o").touch()
    executor.finish(job, log=b"said\n")
    log = hand_in(agent, server, job).log
    assert log.startswith(b"said\n1 files that fit `outputs` are left out: a path is relative")


def test_files_for_which_there_is_no_room_are_not_fetched(agent, executor, server, monkeypatch):
    limits = Limits(files_bytes=5, files_count=2)
    monkeypatch.setattr(fake_control_server, "LIMITS", limits.over(fake_control_server.LIMITS))
    for folder in ({"a": b"123456"}, {"a/b/c": b""}):
        job = server.add_job(folder=folder)
        agent.parts.contracting.step()
        error = hand_in(agent, server, job).error
        assert error.kind is ErrorKind.INPUT
        assert "its directory has room for 5 in 2 (--max-files-size, --max-files)" in error.message
    assert server.sent("download") == [server.lambdas[server.jobs[job].lambda_]["codex"]]


@pytest.mark.parametrize("names", [["../a"], ["/a"], ["a", "a/b"]])
@pytest.mark.parametrize("where", ["folder", "files"])
def test_no_server_has_an_agent_write_elsewhere(agent, executor, server, tmp_path, names, where):
    job = server.add_job(**{where: dict.fromkeys(names, b"x")})
    agent.parts.contracting.step()
    error = hand_in(agent, server, job).error
    assert (error.kind, error.message) == (
        ErrorKind.WORKER,
        "the contract has names that no files of a job can have",
    )
    assert not list(tmp_path.rglob("a"))


def test_a_folder_into_which_a_guest_wrote_after_its_lease_was_lost_goes_with_the_guest(
    agent, executor, server, start
):
    executor.stubborn = True
    job, folder = start({"a": b"x"})
    agent.parts.stopper.drop(agent.lease_table.open_refs()[0])
    assert not folder.exists()
    folder.mkdir()
    (folder / "late").touch()
    executor.finish(job)
    assert not folder.exists()


def test_digests_of_a_deterministic_run_cover_what_it_gave_back(agent, executor, server, start):
    job, folder = start()
    (folder / "a").write_bytes(b"")
    (folder / "a.o").write_bytes(b"")
    ended = result()
    digests = Digests(module="m", input="i", files="f")
    executor._end(executor._find(job), replace(ended, usage=replace(ended.usage, digests=digests)))
    empty = hashlib.sha256().hexdigest()
    assert hand_in(agent, server, job).usage.digests.made == sum_files([("a.o", empty)])


def test_a_seed_depends_on_what_is_in_the_files():
    lambda_ = LeasedLambda(id=Id(1), runtime="wasi", codex=Id(2), codex_checksum="c")
    job = LeasedJob(job=Id(3), lease="l", lease_s=1, attempt=1, lambda_=Id(1), input=Content(id=Id(0)))
    file = LeasedFile(name="a", blob=Id(4), checksum="d", size=1)
    jobs = [
        job,
        replace(job, folder=LeasedFolder()),
        replace(job, folder=LeasedFolder(files=[file])),
        replace(job, folder=LeasedFolder(files=[replace(file, name="b")])),
        replace(job, files=[file]),
    ]
    assert len({find_run_seed(each, lambda_) for each in jobs}) == len(jobs)
