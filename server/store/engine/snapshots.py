"""Consistent copies of a SQLite database, also of one that a server works with."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from piecework.server.errors import DatabaseAway


def copy_database(source: Path, target: Path) -> None:
    """Copy the database as it is at one moment into a new file that needs no other beside it.

    Keys that sign sessions are left out: whoever has a copy shall not be able to make one.

    Servers may go on writing to ``source``. Raises DatabaseAway when it cannot be read.
    """
    try:
        with closing(_open_to_read(source)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            copy.execute("PRAGMA secure_delete=ON")
            if copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'signing_keys'").fetchone():
                copy.execute("DELETE FROM signing_keys")
                copy.commit()
    except sqlite3.Error as error:
        raise DatabaseAway(f"cannot copy {source}: {error}") from error


def find_problem(path: Path) -> str | None:
    """Return what is wrong with a database file; None when it is sound."""
    try:
        with closing(_open_to_read(path)) as database:
            found = [row[0] for row in database.execute("PRAGMA integrity_check(1)")]
    except sqlite3.Error as error:
        return str(error)
    return None if found == ["ok"] else str(found[0])


def stored_digests(path: Path) -> list[bytes]:
    """Return the SHA-256 of each blob whose bytes are in the blob store, in order."""
    query = "SELECT DISTINCT sha256 FROM blobs WHERE content IS NULL ORDER BY sha256"
    with closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute(query)]


def forget_blobs(path: Path, digests: Iterable[bytes]) -> None:
    """Remove the rows of blobs that were deleted while the copy was made, and of modules that had them."""
    with closing(sqlite3.connect(path)) as database, database:
        rows = [(digest,) for digest in digests]
        database.executemany("DELETE FROM blobs WHERE content IS NULL AND sha256 = ?", rows)
        database.execute("DELETE FROM modules WHERE blob_id NOT IN (SELECT id FROM blobs)")


def _open_to_read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
