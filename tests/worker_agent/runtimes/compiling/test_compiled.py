"""Compiled modules on disk."""

import errno
import os
import threading
from pathlib import Path

import pytest

from piecework.worker_agent.runtimes.compiling.compiled import CompiledStore

KEY = "a" * 64 + "-m"


@pytest.fixture
def store(tmp_path):
    return CompiledStore(tmp_path / "compiled")


def test_stored_code_is_found_under_its_key_only(store):
    path = store.add(KEY, b"machine code")
    assert store.find(KEY) == path
    assert path.read_bytes() == b"machine code"
    assert store.find("a" * 64 + "-") is None
    assert store.find("b" * 64 + "-m") is None


def test_folder_is_private(store, tmp_path):
    assert (tmp_path / "compiled").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"", b"machine", b"machine codE"])
def test_damaged_file_is_removed_and_made_again(store, damage):
    path = store.add(KEY, b"machine code")
    path.write_bytes(damage)
    assert store.find(KEY) is None
    assert not path.exists()
    assert store.find_or_make(KEY, lambda: b"new").read_bytes() == b"new"


def test_file_that_cannot_be_read_now_stays_for_later(store, monkeypatch):
    path, really_open = store.add(KEY, b"machine code"), Path.open

    def fail(asked, *arguments):
        if asked == path:
            raise OSError(errno.EMFILE, "too many open files")
        return really_open(asked, *arguments)

    with monkeypatch.context() as context:
        context.setattr(Path, "open", fail)
        assert store.find(KEY) is None
    assert store.find(KEY) == path


def test_use_is_noted_for_eviction(store):
    path = store.add(KEY, b"machine code")
    os.utime(path, (0, 0))
    store.find(KEY)
    assert path.stat().st_mtime > 10**9


def test_only_one_of_many_compiles(tmp_path):
    made, barrier = [], threading.Barrier(4)

    def make():
        made.append(1)
        return b"machine code"

    def find():
        store = CompiledStore(tmp_path)
        barrier.wait()
        found.append(store.find_or_make(KEY, make))

    found = []
    threads = [threading.Thread(target=find) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(found)) == 1


def test_failure_to_compile_leaves_the_way_free(store):
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.find_or_make(KEY, fail)
    assert store.find_or_make(KEY, lambda: b"yes").read_bytes() == b"yes"


def test_no_half_written_file_stays(store, tmp_path):
    store.find_or_make(KEY, lambda: b"machine code")
    assert [path.suffix for path in (tmp_path / "compiled" / KEY[:2]).iterdir()] == [".cwasm"]
