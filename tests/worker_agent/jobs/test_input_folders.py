"""Folders with what jobs get from others: made from the cache, and gone with the lease."""

import os
from pathlib import Path

import pytest

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeaseRef
from worker_agent.jobs.work.input_folders import InputFolders

REF = LeaseRef(job=Id(5), lease="abc")


@pytest.fixture
def blob(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(b"bytes")
    return path


def test_a_folder_has_the_files_until_it_is_released(tmp_path, blob):
    folders = InputFolders(tmp_path / "inputs")
    folder = folders.make(REF, {"a": blob, "empty": None})
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
    folder = InputFolders(tmp_path / "inputs").make(REF, {"a": blob})
    assert (folder / "a").read_bytes() == b"bytes"


def test_what_an_earlier_process_left_is_removed(tmp_path, blob):
    folder = InputFolders(tmp_path / "inputs").make(REF, {"a": blob})
    InputFolders(tmp_path / "inputs")
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


def test_a_contract_says_that_files_are_given(agent, server):
    server.add_job(b"in")
    agent.parts.contracting.step()
    assert server.sent("contract")[-1].tags == ["inputs"]
