"""Everything that a server on SQLite stores, in one file, and back.

A backup is a tar file: the large blobs, each under its digest, wherever the server keeps them, and after them the
database that names them. They are restored into the data directory.
"""

import os
import re
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from piecework.server.blobs import BlobStore, open_store
from piecework.server.errors import BlobNotFound, DatabaseAway, StorageFull
from piecework.server.services.stock.audit import act_by_command
from piecework.server.settings import BLOBS_NAME, DATABASE_NAME, Settings
from piecework.server.store.engine.database import open_database
from piecework.server.store.engine.snapshots import copy_database, find_problem, forget_blobs, stored_digests
from piecework.server.store.schema.standing import check_schema, current_revision
from piecework.server.store.stock import blobs
from piecework.server.store.stock.audit import store_act

BLOB = re.compile(rf"{BLOBS_NAME}/([0-9a-f]{{2}})/(\1[0-9a-f]{{62}})")
CHUNK_BYTES = 1 << 20


class BackupError(Exception):
    """A backup could not be written or read; the message says why. Nothing is left behind."""


@dataclass(frozen=True)
class Contents:
    """What a backup has."""

    database_bytes: int
    blobs: int
    blob_bytes: int


def write_backup(settings: Settings, file: Path, *, overwrite: bool = False) -> Contents:
    """Back the server's data up into ``file``, also while a server works. The file appears whole or not at all.

    Raises BackupError, or DatabaseAway when the database cannot be read.
    """
    if settings.database_url:
        raise BackupError(
            "on PostgreSQL use pg_dump, and after it copy the data directory's folder blobs, or the bucket of S3"
        )
    if not settings.database_file.exists():
        raise BackupError(f"there is no server's data in {settings.data}")
    if file.exists() and not overwrite:
        raise BackupError(f"{file} exists already; --force would replace it")
    with _room_beside(file) as room:
        copy_database(settings.database_file, room / DATABASE_NAME)
        (room / "tar").touch(mode=0o600)
        with (room / "tar").open("wb") as output:
            with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
                contents = _add_all(tar, settings, room / DATABASE_NAME)
            output.flush()
            os.fsync(output.fileno())
        (room / "tar").replace(file)
    _tell(settings, file)
    return contents


def _tell(settings: Settings, file: Path) -> None:
    """Have the server know that there is a backup: `piecework status` tells how old it is."""
    database = open_database(settings.url)
    act = act_by_command("backup", str(file.absolute()), "", time.time_ns() // 1_000_000)
    try:
        with suppress(DatabaseAway, StorageFull):  # of an older schema, or full: the backup is there all the same
            database.write(partial(store_act, act=act))
    finally:
        database.close()


def restore_backup(file: Path, data: Path) -> Contents:
    """Fill a new data directory from a backup. The directory appears whole and checked or not at all.

    Raises BackupError, or SchemaMismatch when a newer program wrote the backup.
    """
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise BackupError(f"{data} is not empty; restore into a new directory")
    with _room_beside(data) as room:
        draft = room / "data"
        draft.mkdir(mode=0o700)
        store = open_store(Settings(data=draft, blob_max_bytes=sys.maxsize))
        try:
            with tarfile.open(file, "r:") as tar:
                for member in tar:
                    _extract(tar, member, draft / DATABASE_NAME, store)
        except tarfile.TarError as error:
            raise BackupError(f"{file} is not a whole backup: {error}") from error
        contents = _check(file, draft / DATABASE_NAME, store)
        draft.replace(data)
    return contents


@contextmanager
def _room_beside(place: Path) -> Iterator[Path]:
    """Give a directory beside a place, from which a rename can put something there; it is gone afterwards."""
    try:
        with tempfile.TemporaryDirectory(prefix=".piecework-", dir=place.absolute().parent) as room:
            yield Path(room)
    except OSError as error:
        raise BackupError(f"{place}: {error.strerror or error}") from error


def _add_all(tar: tarfile.TarFile, settings: Settings, snapshot: Path) -> Contents:
    """Add the blobs that the snapshot names, and then the snapshot."""
    store = open_store(settings)
    sizes: list[int] = []
    gone: list[bytes] = []
    for digest in stored_digests(snapshot):
        try:
            sizes.append(_add_blob(tar, store, digest))
        except BlobNotFound:
            gone.append(digest)
    _check_deleted(settings, store, gone)
    forget_blobs(snapshot, gone)
    tar.add(snapshot, DATABASE_NAME)
    return Contents(snapshot.stat().st_size, len(sizes), sum(sizes))


def _add_blob(tar: tarfile.TarFile, store: BlobStore, digest: bytes) -> int:
    """Add a blob and return its size. Raises BlobNotFound, and then nothing was added."""
    name = digest.hex()
    with store.open(digest) as reader:
        member = tarfile.TarInfo(f"{BLOBS_NAME}/{name[:2]}/{name}")
        member.size, member.mode = reader.size, 0o600
        tar.addfile(member, reader)
    return member.size


def _check_deleted(settings: Settings, store: BlobStore, digests: list[bytes]) -> None:
    """Raise BackupError unless the blobs were deleted since the snapshot: else they were lost."""
    database = open_database(settings.url)
    try:
        with database.read() as connection:
            missing = [digest.hex() for digest in digests if blobs.is_stored(connection, digest)]
    finally:
        database.close()
    if missing:
        raise BackupError(f"{store} is damaged: it lacks blobs {', '.join(missing[:3])}")


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, database: Path, store: BlobStore) -> None:
    """Extract one of the two kinds of file that a backup has. Raises BackupError for anything else."""
    found = BLOB.fullmatch(member.name)
    content = tar.extractfile(member) if member.isfile() else None
    if content is None or not (found or member.name == DATABASE_NAME):
        raise BackupError(f"{member.name!r} does not belong into a backup")
    with content:
        if not found:
            with database.open("xb") as output:
                shutil.copyfileobj(content, output, CHUNK_BYTES)
            return
        with store.receive(0) as writer:
            while chunk := content.read(CHUNK_BYTES):
                writer.write(chunk)
            if writer.finish().sha256.hex() != found[2]:
                raise BackupError(f"the backup is damaged: blob {found[2]} has other bytes")


def _check(file: Path, database_file: Path, store: BlobStore) -> Contents:
    """Check that the restored database is sound, and has the bytes of each blob that it names."""
    problem = find_problem(database_file) if database_file.exists() else "it has no database"
    if problem:
        raise BackupError(f"{file} is not a whole backup: {problem}")
    database = open_database(f"sqlite:///{database_file}")
    try:
        check_schema(database)
        if current_revision(database) is None:
            raise BackupError(f"{file} is not a backup of a server")
    finally:
        database.close()
    sizes = []
    for digest in stored_digests(database_file):
        size = store.find_size(digest)
        if size is None:
            raise BackupError(f"{file} is not a whole backup: a blob is missing")
        sizes.append(size)
    return Contents(database_file.stat().st_size, len(sizes), sum(sizes))
