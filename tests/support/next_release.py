"""The next release, as far as tests need one: this program, three migrations more, and what it stores in them.

Its jobs have a tint. 9001 adds the column, 9002 an index and values for old jobs; after 9003 no job is stored
without one, which this program does. As a script it is the `piecework` command of that release.
"""

import itertools
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from piecework.local import ChildProgram, LocalServer
from piecework.migrations import versions
from piecework.server.store.schema.revisions import known_revisions, read_steps

FOLDER = str(Path(__file__).parent / "next_schema")
ADDED, FILLED, CONTRACTED = "9001", "9002", "9003"
STANDS_STILL_AT = "STANDS_STILL_AT"
"""Variable: the migration that does not go on after its last statement, for tests that kill it there."""


def last_revision() -> str:
    """Return the schema of this program."""
    return max(revision for revision in known_revisions() if revision < "9")


def stand_still(revision: str) -> None:
    if os.environ.get(STANDS_STILL_AT) == revision:
        print(f"standing still at {revision}", flush=True)  # noqa: T201  # whoever kills it waits for this
        threading.Event().wait()


@contextmanager
def next_release() -> Iterator[None]:
    """Have this program know the migrations of the next release."""
    versions.__path__.append(FOLDER)
    _forget()
    try:
        yield
    finally:
        versions.__path__.remove(FOLDER)
        _forget()


def _forget() -> None:
    known_revisions.cache_clear()
    read_steps.cache_clear()


class NextServer(LocalServer):
    """A server of the next release."""

    def make_command(self, part: str) -> list[str]:
        return [sys.executable, __file__, "server", part]


class NextCommand(ChildProgram):
    """A command of the next release."""

    _numbers = itertools.count()

    def __init__(self, folder: Path, *words: str, environ: Mapping[str, str] | None = None) -> None:
        log = folder / f"command-{next(self._numbers)}.log"
        super().__init__(" ".join(words), [sys.executable, __file__, *words], log, environ)


def run_command() -> None:
    from sqlalchemy import Column, Text, literal_column

    from piecework.cli.main import main
    from piecework.server.store.queue.jobs import jobs

    jobs.jobs.append_column(Column("tint", Text, default=literal_column("'new'")))
    with next_release():
        main()


if __name__ == "__main__":
    run_command()
