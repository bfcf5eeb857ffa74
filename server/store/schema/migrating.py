"""Bringing a database from one version of the schema to another: Alembic's migrations are its only source.

SQLite takes all of them in one transaction, and so does an empty PostgreSQL database: a kill in the middle leaves
nothing. In a PostgreSQL database with something in it each migration is a transaction of its own that waits for
its locks in turns, or says that it is made of steps that may be repeated.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from piecework import migrations
from piecework.migrations import versions
from piecework.server.errors import MigrationRefused
from piecework.server.store.engine.connections import translated_errors
from piecework.server.store.engine.database import Database, SqliteDatabase
from piecework.server.store.engine.servers import FORGOTTEN_AFTER_MS, list_schemas
from piecework.server.store.engine.snapshots import copy_database
from piecework.server.store.schema.patient_locks import SET_TIMEOUT, try_patiently
from piecework.server.store.schema.revisions import MigrationPlan, Step, make_plan, oldest_for
from piecework.server.store.schema.standing import read_revision, read_standing, write_contract

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATION_LOCK = 0x70696563_65776F72
"""Whoever migrates a PostgreSQL database holds this advisory lock."""
LOOK_S = 0.1
"""How often it is looked whether another one has finished."""
COPY_MARGIN_BYTES = 64 << 20
"""What must be left on the disk beside a copy of a SQLite file."""
Note = Callable[[Step, float], object]
"""Is told of each migration once it is done, and how many seconds it took."""


@dataclass(frozen=True)
class Migrated:
    """What a migration did."""

    before: str | None
    after: str | None
    took_s: float
    copy: Path | None = None
    """Where a SQLite database is as it was before."""


def read_plan(database: Database, to: str | None = None, *, expand_only: bool = False) -> MigrationPlan:
    """Return what ``upgrade_schema`` would do. Raises SchemaMismatch and MigrationRefused as it does."""
    standing = read_standing(database)
    if standing.is_newer:
        if to not in (None, standing.found):
            raise MigrationRefused(
                f"the database has schema version {standing.found}, and this program knows those up to"
                f" {standing.own}: only a newer one can change it"
            )
        return MigrationPlan(standing.found, standing.found)
    return make_plan(standing.found, to, expand_only=expand_only)


def upgrade_schema(
    database: Database,
    to: str | None = None,
    *,
    expand_only: bool = False,
    copies: bool = True,
    note: Note = lambda *_: None,
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> Migrated:
    """Bring the database to version ``to``, or the program's; see ``make_plan``. Safe to repeat, and to be killed.

    ``copies`` says whether a SQLite file that has something in it is copied first. Raises SchemaMismatch when the
    database is too new for this program, MigrationRefused when something must be done before.
    """
    began = time.monotonic()
    plan = read_plan(database, to, expand_only=expand_only)
    copy = None
    if plan.steps:
        with translated_errors():
            if isinstance(database, SqliteDatabase):
                copy = copy_file(database, plan) if copies and plan.before else None
                _run_whole(database, plan)
            else:
                with _migrating_alone(database):
                    plan = read_plan(database, to, expand_only=expand_only)  # another one may have done it
                    _run_on_postgres(database, plan, clock, note)
    return Migrated(plan.before, plan.after, time.monotonic() - began, copy)


def copy_file(database: SqliteDatabase, plan: MigrationPlan) -> Path:
    """Copy a SQLite database beside itself, whole or not at all. Raises MigrationRefused when there is no room."""
    copy = database.path.with_name(f"{database.path.stem}-{plan.before}.db")
    size, free = database.path.stat().st_size, shutil.disk_usage(database.path.parent).free
    if free < size + COPY_MARGIN_BYTES:
        raise MigrationRefused(
            f"there is no room on the disk for a copy of {database.path}, which is made before it is migrated:"
            " make room, or have a backup and run `piecework server migrate --no-copy`"
        )
    draft = copy.with_suffix(".part")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    try:
        copy_database(database.path, draft)
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(copy)
    finally:
        draft.unlink(missing_ok=True)
    return copy


def _run_whole(database: Database, plan: MigrationPlan) -> None:
    with database.engine.connect() as connection:
        if isinstance(database, SqliteDatabase):
            # The engine leaves transactions to us here, and Alembic uses none on SQLite.
            with _no_foreign_keys(connection):
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                if read_revision(connection) == plan.before:
                    _run_steps(connection, plan)
                connection.exec_driver_sql("COMMIT")
        else:
            _run_steps(connection, plan)
            connection.commit()


def _run_steps(connection: Connection, plan: MigrationPlan) -> None:
    assert plan.after is not None
    _run_alembic(connection, plan.after, is_back=plan.is_back)
    write_contract(connection, plan.after, oldest_for(plan.after))


def _run_on_postgres(database: Database, plan: MigrationPlan, clock: Callable[[], int], note: Note) -> None:
    if plan.before is None:
        _run_whole(database, plan)
        return
    for step in plan.steps:
        began = time.monotonic()
        check = partial(_check_servers, database, step, clock(), is_back=plan.is_back)
        try_patiently(f"migration {step.revision}", check)
        if step.in_transaction:
            try_patiently(f"migration {step.revision}", partial(_run_alone, database, step, is_back=plan.is_back))
        else:
            _run_online(database, step, is_back=plan.is_back)
        note(step, time.monotonic() - began)


def _check_servers(database: Database, step: Step, now: int, *, is_back: bool) -> None:
    """Raise MigrationRefused while a server works that the step would break; let no such one start from now on."""
    if step.is_expand and not is_back:
        return
    with database.engine.begin() as connection:
        connection.exec_driver_sql(SET_TIMEOUT)
        found = list_schemas(connection, now)
        unfit = (
            [each for each in found if (each or "") > str(step.below)]
            if is_back
            else ([each for each in found if (each or "") < step.oldest])
        )
        if unfit:
            raise MigrationRefused(_tell_unfit(step, unfit, is_back=is_back))
        if not is_back:
            write_contract(connection, str(step.below), step.oldest)


def _tell_unfit(step: Step, unfit: list[str | None], *, is_back: bool) -> str:
    versions_ = ", ".join(sorted({each or "before 0028" for each in unfit}))
    needs = f"newer than {step.below}" if is_back else f"older than {step.oldest}"
    return (
        f"migration {step.revision} ({step.name}) needs that no server runs that is {needs}, and there are"
        f" {len(unfit)} of them (schema {versions_}). What came before it is done. Stop them and try again; a"
        f" server that was killed counts for {FORGOTTEN_AFTER_MS // 60_000} minutes more"
    )


def _run_alone(database: Database, step: Step, *, is_back: bool) -> None:
    """Run a migration, or take it back, in one transaction that gives up soon when it gets no lock."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql(SET_TIMEOUT)
        target = str(step.below if is_back else step.revision)
        _run_alembic(connection, target, is_back=is_back)
        write_contract(connection, target, oldest_for(target))


def _run_online(database: Database, step: Step, *, is_back: bool) -> None:
    """Run a migration, or take it back, whose steps commit by themselves.

    What the database says of older servers is there before the first of them.
    """
    if not is_back:
        with database.engine.begin() as connection:
            write_contract(connection, step.revision, step.oldest)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        _run_alembic(connection, str(step.below if is_back else step.revision), is_back=is_back, online=True)


@contextmanager
def _migrating_alone(database: Database) -> Iterator[None]:
    """Wait until no other program migrates the database.

    It asks again and again: one that waits in a statement would itself be waited for by an index that is made
    concurrently. The transaction that has the lock sees nothing, and stands in nobody's way.
    """
    pause = threading.Event()  # nothing sets it
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        while not connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})").scalar():
            pause.wait(LOOK_S)
        yield


@contextmanager
def _no_foreign_keys(connection: Connection) -> Iterator[None]:
    """Let migrations make a table anew that others refer to, as section 7 of SQLite's "ALTER TABLE" says."""
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def _run_alembic(connection: Connection, target: str, *, is_back: bool, online: bool = False) -> None:
    from alembic import command  # noqa: PLC0415  # takes 12 MB, and is needed rarely

    config = make_config()
    config.attributes.update(connection=connection, online=online)
    (command.downgrade if is_back else command.upgrade)(config, target)


def write_sql(plan: MigrationPlan, step: Step, dialect: str) -> str | None:
    """Return the statements of a step of a plan; None when they depend on what it finds in the database."""
    from alembic import command  # noqa: PLC0415  # as above
    from alembic.util import CommandError  # noqa: PLC0415

    config, output = make_config(), StringIO()
    config.output_buffer = output
    online = not step.in_transaction and dialect == "postgresql" and plan.before is not None
    config.attributes.update(dialect=dialect, online=online)
    below = step.below or "base"
    way = f"{step.revision}:{below}" if plan.is_back else f"{below}:{step.revision}"
    try:
        (command.downgrade if plan.is_back else command.upgrade)(config, way, sql=True)
    except CommandError:
        return None
    except AttributeError as error:
        if error.obj is None:  # it asked a connection, and here is none
            return None
        raise
    return output.getvalue().strip()


def make_config() -> "Config":
    """Return what Alembic needs to find the migrations."""
    from alembic.config import Config  # noqa: PLC0415  # as above

    config = Config()
    places = {
        "script_location": str(Path(migrations.__file__).parent),
        "version_locations": "\n".join(versions.__path__),
        "path_separator": "newline",
    }
    for name, value in places.items():
        config.set_main_option(name, value.replace("%", "%%"))
    return config
