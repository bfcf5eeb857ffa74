"""What is true of a directory of blobs alone."""

from pathlib import Path

import pytest
from blob_places import DirectoryPlace
from structlog.testing import capture_logs

from piecework.server.blobs.directory import DirectoryStore
from piecework.server.errors import StorageFull


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryPlace:
    return DirectoryPlace(tmp_path, monkeypatch)


def test_a_sweep_passes_over_files_that_are_no_blobs(place: DirectoryPlace, tmp_path: Path):
    store = place.open()
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / ".nfs0001").write_bytes(b"a file that NFS keeps while somebody reads it")
    (tmp_path / "notes.txt").write_bytes(b"somebody's")
    assert store.sweep(-1, lambda _: False) == 0
    assert place.count() == 2


def test_a_full_disk_is_in_the_log_once_and_so_is_its_end(place: DirectoryPlace):
    store = place.open()

    def put() -> None:
        with store.receive(0) as writer:
            writer.write(b"content")
            writer.finish()

    with capture_logs() as logs:
        with place.full():
            for _ in range(3):
                with pytest.raises(StorageFull):
                    put()
        put()
        put()
    assert [line["event"] for line in logs] == [
        "the disk of large blobs is full",
        "large blobs can be stored again",
    ]


def test_a_directory_may_be_named_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store = DirectoryStore(Path("blobs"), 1000)
    with store.receive(0) as writer:
        writer.write(b"content")
        sha256 = writer.finish().sha256
    assert (tmp_path / "blobs" / sha256.hex()[:2] / sha256.hex()).read_bytes() == b"content"
