"""What `/readyz` tells while disks are full."""

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from blob_places import DirectoryPlace
from structlog.testing import capture_logs

from piecework.local import LISTENING, ChildProgram
from piecework.server.blobs.disk_space import LACKED_S, LEAST_BYTES
from piecework.server.errors import StorageFull
from piecework.server.services.health.readiness import TRY_EVERY_S, Readiness
from piecework.server.store.engine.database import Database

MB = 1_000_000


class World:
    """Disks, a clock and a database that tests change."""

    def __init__(self, folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.free_bytes, self.touched = 1000.0, 100 * MB, 0
        self.failure: Exception | None = None
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=self.free_bytes, f_frsize=1))
        self.place = DirectoryPlace(folder / "blobs", monkeypatch)
        self.store = self.place.open(200 * MB, lambda: self.now)
        self.readiness = Readiness(database, self.store, folder, self._touch, lambda: self.now)

    def _touch(self) -> None:
        self.touched += 1
        if self.failure is not None:
            raise self.failure

    def fail_to_store(self, size: int) -> None:
        """Let an upload find no room."""
        with self.place.full(), self.store.receive(0) as writer, pytest.raises(StorageFull):
            writer.write(bytes(size))

    def is_ready(self) -> bool:
        try:
            self.readiness.check()
        except StorageFull:
            return False
        return True


@pytest.fixture
def world(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, database, monkeypatch)


def test_a_full_disk_is_seen_at_once_and_so_is_room(world: World):
    assert world.is_ready()
    world.free_bytes = LEAST_BYTES - 1
    assert not world.is_ready()
    world.free_bytes = LEAST_BYTES
    assert world.is_ready()


def test_a_disk_is_full_for_as_long_as_uploads_find_no_room(world: World):
    world.free_bytes = 3 * MB
    assert world.is_ready()
    world.fail_to_store(5 * MB)
    assert not world.is_ready()
    world.free_bytes = 6 * MB
    assert world.is_ready()
    world.free_bytes = 3 * MB
    world.now += LACKED_S
    assert world.is_ready(), "nobody has asked for so much since"


@pytest.mark.slow
def test_one_upload_that_is_larger_than_the_disk_says_nothing(world: World):
    world.fail_to_store(101 * MB)
    assert world.is_ready()


def test_a_database_that_takes_nothing_is_seen_within_seconds(world: World):
    assert world.is_ready()
    world.failure = StorageFull("the disk is full")
    world.now += TRY_EVERY_S
    assert [world.is_ready() for _ in range(5)] == [False] * 5
    world.failure = None
    world.now += TRY_EVERY_S
    assert world.is_ready()


def test_who_asks_often_does_not_have_it_write_often(world: World):
    for _ in range(100):
        assert world.is_ready()
    assert world.touched == 1


def test_a_store_that_cannot_be_written_to_is_not_ready(world: World):
    with world.place.unwritable():
        assert not world.is_ready()


def test_not_ready_is_in_the_log_once_and_so_is_ready_again(world: World):
    world.free_bytes = 0
    with capture_logs() as logs:
        assert not any(world.is_ready() for _ in range(9))
        world.free_bytes = 100 * MB
        assert all(world.is_ready() for _ in range(9))
    assert [line["event"] for line in logs] == ["not ready", "ready again"]


@pytest.mark.integration
@pytest.mark.parametrize("size", [MB // 4, 3 * MB])
def test_on_a_real_disk_not_ready_goes_with_refused_uploads(tmp_path: Path, size: int):
    (tmp_path / "disk").mkdir()
    serve = f"{sys.executable} -m piecework server run --port 0 --data {tmp_path}/disk/data"
    script = f"mount -t tmpfs -o size=16m none {tmp_path}/disk && exec {serve}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    with ChildProgram("the server", alone, tmp_path / "log") as server:
        url = f"http://127.0.0.1:{server.wait_for_line(LISTENING)[1]}"
        headers, stored = {"Content-Type": "application/octet-stream"}, []
        while (answer := requests.post(f"{url}/data", os.urandom(size), headers=headers, timeout=60)).ok:
            stored.append(answer.json()["id"])
        assert answer.status_code == requests.get(f"{url}/readyz", timeout=60).status_code == 503
        for id_ in stored:
            assert requests.get(f"{url}/data/{id_}", timeout=60).ok
        log = server.read_log()
    assert re.findall(r"\[error +\] (.+?) +error=", log) == ["the disk of large blobs is full", "not ready"]
    assert "Traceback" not in log
