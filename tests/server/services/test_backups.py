"""Backups: whole, checked, and restorable."""

import hashlib
import io
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from house import House
from signing_worker import SigningWorker, deterministic_lambda, keys_of, receipt_of

from piecework.receipts import verify_receipt
from piecework.server.errors import DatabaseAway, SchemaMismatch
from piecework.server.services.backups import BackupError, Contents, restore_backup, write_backup
from piecework.server.settings import Settings
from piecework.server.store.engine import snapshots
from piecework.server.store.schema.standing import current_revision

LARGE, SMALL = bytes(range(256)) * 400, b"small"


def _upload(house: House, content: bytes) -> str:
    return house.call("POST", "/data", data=content, content_type="application/octet-stream")["id"]


@pytest.fixture
def stored(tmp_path: Path):
    """A server with a large and a small blob, a job and a token, that is working."""
    house = House(tmp_path / "live")
    large, small = (_upload(house, content) for content in (LARGE, SMALL))
    job = house.submit(house.new_lambda(), input=large)
    yield house, large, small, job
    house.close()


def _backup(house: House, file: Path, **options: bool) -> Contents:
    return write_backup(Settings(data=house.data), file, **options)


def _blob_file(data: Path) -> Path:
    [path] = [path for path in data.glob("blobs/??/*") if path.is_file()]
    return path


def test_a_restored_server_has_everything(stored, tmp_path: Path):
    house, large, small, job = stored
    contents = _backup(house, tmp_path / "b.tar")
    assert (contents.blobs, contents.blob_bytes) == (1, len(LARGE))
    assert restore_backup(tmp_path / "b.tar", tmp_path / "new").blobs == 1
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    again = House(tmp_path / "new")
    assert again.fetch(f"/data/{large}/blob").data == LARGE
    assert again.fetch(f"/data/{small}/blob").data == SMALL
    assert again.state(job) == "Enqueued"
    assert int(again.submit(again.new_lambda())) > int(job)
    again.close()


@pytest.mark.slow
def test_a_restored_server_has_receipts_and_keys_and_signs_with_a_new_one(stored, tmp_path: Path):
    house, *_ = stored
    worker = SigningWorker(house)
    job = house.submit(deterministic_lambda(house, deterministic=True))
    worker.hand_in(worker.work())
    kept = receipt_of(house, job)
    _backup(house, tmp_path / "b.tar")
    restore_backup(tmp_path / "b.tar", tmp_path / "restored")
    assert not (tmp_path / "restored" / "receipts.key").exists()
    other = House(tmp_path / "restored")
    try:
        assert receipt_of(other, job) == kept
        old = verify_receipt(kept, keys_of(other)).signers
        worker.house = other
        later = other.submit(deterministic_lambda(other, deterministic=True), input={"text": "later"})
        worker.hand_in(worker.work())
        new = verify_receipt(receipt_of(other, later), keys_of(other)).signers
    finally:
        other.close()
    assert old[0] == new[0]
    assert old[1].keyid != new[1].keyid


def test_a_backup_is_of_one_moment(stored, tmp_path: Path):
    house, *_ = stored
    lambda_ = house.new_lambda()
    before = house.submit(lambda_)
    _backup(house, tmp_path / "b.tar")
    later = house.submit(lambda_)
    restore_backup(tmp_path / "b.tar", tmp_path / "new")
    again = House(tmp_path / "new")
    assert [again.fetch(f"/job/{job}").status_code for job in (before, later)] == [200, 404]
    again.close()


def test_only_the_owner_may_read_a_backup(stored, tmp_path: Path):
    _backup(stored[0], tmp_path / "b.tar")
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_only_when_asked(stored, tmp_path: Path):
    house, *_ = stored
    (tmp_path / "b.tar").write_text("precious")
    with pytest.raises(BackupError, match="exists already"):
        _backup(house, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_text() == "precious"
    _backup(house, tmp_path / "b.tar", overwrite=True)
    restore_backup(tmp_path / "b.tar", tmp_path / "new")


def test_a_blob_that_is_deleted_while_the_backup_is_made_is_left_out(
    stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    house, *_ = stored
    unused = _upload(house, LARGE[::-1])

    def copy_then_delete(source: Path, target: Path) -> None:
        snapshots.copy_database(source, target)
        house.call("DELETE", f"/data/{unused}")
        digest = hashlib.sha256(LARGE[::-1]).hexdigest()
        (house.data / "blobs" / digest[:2] / digest).unlink()

    monkeypatch.setattr("piecework.server.services.backups.copy_database", copy_then_delete)
    assert _backup(house, tmp_path / "b.tar").blobs == 1
    restore_backup(tmp_path / "b.tar", tmp_path / "new")
    again = House(tmp_path / "new")
    again.call("GET", f"/data/{unused}", status=404)
    again.close()


def test_a_lost_blob_file_is_reported_and_nothing_is_left(stored, tmp_path: Path):
    house, *_ = stored
    _blob_file(house.data).unlink()
    with pytest.raises(BackupError, match="damaged"):
        _backup(house, tmp_path / "b.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["live"]


def test_there_must_be_something_to_back_up(tmp_path: Path):
    with pytest.raises(BackupError, match="no server's data"):
        write_backup(Settings(data=tmp_path), tmp_path / "b.tar")
    (tmp_path / "piecework.db").write_bytes(b"no database at all" * 99)
    with pytest.raises(DatabaseAway, match="cannot copy"):
        write_backup(Settings(data=tmp_path), tmp_path / "b.tar")


def test_on_postgresql_the_right_tool_is_named(tmp_path: Path):
    with pytest.raises(BackupError, match="pg_dump"):
        write_backup(Settings(data=tmp_path, database_url="postgresql://x/y"), tmp_path / "b.tar")


def test_a_place_that_cannot_be_written_is_named(stored, tmp_path: Path):
    with pytest.raises(BackupError, match=r"nowhere/b\.tar: No such file or directory"):
        _backup(stored[0], tmp_path / "nowhere" / "b.tar")


def test_a_directory_that_is_in_use_is_not_restored_into(stored, tmp_path: Path):
    house, *_ = stored
    _backup(house, tmp_path / "b.tar")
    with pytest.raises(BackupError, match="not empty"):
        restore_backup(tmp_path / "b.tar", house.data)
    (tmp_path / "empty").mkdir()
    restore_backup(tmp_path / "b.tar", tmp_path / "empty")
    assert (tmp_path / "empty" / "piecework.db").exists()


def _rewrite(file: Path, change: Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]) -> None:
    """Write a backup again with changed members; None leaves one out."""
    output = io.BytesIO()
    with tarfile.open(file) as old, tarfile.open(fileobj=output, mode="w") as new:
        for member in old.getmembers():
            changed = change(member, old.extractfile(member).read())
            if changed:
                info, content = changed
                info.size = len(content)
                new.addfile(info, io.BytesIO(content))
    file.write_bytes(output.getvalue())


def _renamed(name: str):
    def change(member: tarfile.TarInfo, content: bytes):
        if member.name.startswith("blobs/"):
            member.name = name
        return member, content

    return change


DAMAGES = {
    "a blob with other bytes": (lambda m, c: (m, c[::-1] if m.name.startswith("blobs/") else c), "other bytes"),
    "a missing blob": (lambda m, c: None if m.name.startswith("blobs/") else (m, c), "a blob is missing"),
    "a missing database": (lambda m, c: (m, c) if m.name.startswith("blobs/") else None, "no database"),
    "a damaged database": (
        lambda m, c: (m, c if m.name.startswith("blobs/") else c[:5000] + bytes(9000)),
        "whole backup",
    ),
    "a name that leads out": (_renamed("../evil"), "does not belong"),
    "an absolute name": (_renamed("/tmp/evil"), "does not belong"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_backup_is_refused_and_nothing_is_left(stored, tmp_path: Path, damage: str):
    change, message = DAMAGES[damage]
    _backup(stored[0], tmp_path / "b.tar")
    _rewrite(tmp_path / "b.tar", change)
    with pytest.raises(BackupError, match=message):
        restore_backup(tmp_path / "b.tar", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "live"]


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_a_backup_that_breaks_off_is_refused(stored, tmp_path: Path, part: float):
    file = tmp_path / "b.tar"
    _backup(stored[0], file)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])
    with pytest.raises(BackupError, match="not a whole backup"):
        restore_backup(file, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_symbolic_link_in_a_backup_is_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        link = tarfile.TarInfo("piecework.db")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(BackupError, match="does not belong"):
        restore_backup(tmp_path / "b.tar", tmp_path / "new")


def _database_only(file: Path, path: Path) -> None:
    with tarfile.open(file, "w") as tar:
        tar.add(path, "piecework.db")


def test_a_backup_of_something_else_is_refused(tmp_path: Path):
    sqlite3.connect(tmp_path / "other.db").executescript("CREATE TABLE t (x)").connection.close()
    _database_only(tmp_path / "b.tar", tmp_path / "other.db")
    with pytest.raises(BackupError, match="not a backup of a server"):
        restore_backup(tmp_path / "b.tar", tmp_path / "new")


def test_a_backup_of_a_newer_program_is_refused(stored, tmp_path: Path):
    house, *_ = stored
    assert current_revision(house.services.database)
    house.services.database.write(lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    _backup(house, tmp_path / "b.tar")
    with pytest.raises(SchemaMismatch, match="9999"):
        restore_backup(tmp_path / "b.tar", tmp_path / "new")
    assert not (tmp_path / "new").exists()
