"""Folders of processes, and what becomes of those whose process was killed."""

import fcntl
import os
import time

import pytest

from piecework.worker_agent.guests.scratch import MAKING_S, Scratch


@pytest.fixture(autouse=True)
def system_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_folder_is_there_until_it_is_removed(system_folder):
    scratch = Scratch("some-")
    (scratch.path / "code").write_bytes(b"x")
    scratch.remove()
    scratch.remove()
    assert list(system_folder.iterdir()) == []


def test_folders_that_were_left_go_and_those_in_use_stay(system_folder):
    used, left, foreign = Scratch("some-"), system_folder / "some-left", system_folder / "other-left"
    for folder in (left, foreign):
        folder.mkdir()
        (folder / "lock").touch()
        (folder / "code").write_bytes(b"x")
    (used.path / "code").write_bytes(b"x")
    fresh = Scratch("some-")
    assert set(system_folder.iterdir()) == {used.path, fresh.path, foreign}
    used.remove()
    fresh.remove()


def test_folder_that_was_left_empty_goes_after_a_while(system_folder):
    left, made = system_folder / "some-left", system_folder / "some-made"
    for folder, age_s in ((left, 2 * MAKING_S), (made, 0)):
        folder.mkdir()
        (folder / "lock").touch()
        os.utime(folder / "lock", (time.time() - age_s,) * 2)
    fresh = Scratch("some-")
    assert set(system_folder.iterdir()) == {made, fresh.path}
    fresh.remove()


def test_folder_is_locked_against_others():
    scratch = Scratch("some-")
    with (scratch.path / "lock").open("r+") as file, pytest.raises(OSError, match=os.strerror(11)):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    scratch.remove()
