"""The pages of a SQLite file: how many are free, and giving some back to the disk."""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from piecework.server.store.engine.statements import driver_of

INCREMENTAL = 2
"""What ``PRAGMA auto_vacuum`` says of a file that can give pages back one by one."""


class PageUse(NamedTuple):
    """What a SQLite file consists of."""

    page_bytes: int
    pages: int
    free: int
    """Pages that are used again before the file grows."""
    gives_back: bool
    """Whether free pages can be cut off while a server works."""


def read_pages(connection: Connection) -> PageUse:
    """Return what a SQLite file consists of, as its head says: no more of it is read."""
    page_bytes, pages, free, vacuum = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_size", "page_count", "freelist_count", "auto_vacuum")
    )
    return PageUse(page_bytes, pages, free, vacuum == INCREMENTAL)


def give_back(connection: Connection, pages: int) -> None:
    """Cut free pages off the end of a SQLite file, so many at most; what stands behind them moves to the front."""
    driver_of(connection).execute(f"PRAGMA incremental_vacuum({pages})").fetchall()


def compact(path: Path) -> tuple[int, int]:
    """Write a SQLite file anew without free pages, so that it can give pages back from then on.

    Nobody else may use it meanwhile. Returns its size before and after, bytes. Takes as much room again as it has.
    """
    import sqlite3  # noqa: PLC0415  # only for the command
    from contextlib import closing  # noqa: PLC0415

    before = path.stat().st_size
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA auto_vacuum=INCREMENTAL")
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, path.stat().st_size
