"""`piecework server migrate`."""

from pathlib import Path

import rich_click as click

from piecework.server.cli.options import Misuse, load_settings, one_line_failures, own_database, store_options
from piecework.server.settings import Settings
from piecework.server.store.engine.database import is_there, open_database, show_url
from piecework.server.store.schema.migrating import Migrated, read_plan, upgrade_schema, write_sql
from piecework.server.store.schema.revisions import MigrationPlan, Step, known_revisions, make_plan

PENDING = 3
"""Exit code of a plan with something to do."""


@click.command
@click.option(
    "--plan",
    "only_plan",
    is_flag=True,
    help="Print what would be done, and do nothing; exit code 3 if there is some.",
)
@click.option("--sql", is_flag=True, help="With --plan, print the statements, too.")
@click.option(
    "--to",
    metavar="REVISION",
    help="Stop at that version; an older one takes back what was done since, if it can be.",
)
@click.option(
    "--expand-only", is_flag=True, help="Stop before what servers of the older schema cannot work beside."
)
@click.option("--no-copy", is_flag=True, help="Do not copy a SQLite file first.")
@store_options()
def migrate(
    only_plan: bool,
    sql: bool,
    to: str | None,
    expand_only: bool,
    no_copy: bool,
    data: Path | None,
    database_url: str | None,
) -> int:
    """Bring the database to this program's schema. Safe to repeat, and to be ended at any moment.

    On SQLite stop the server first; a copy of the file as it was stays beside it. On PostgreSQL servers may run
    beside expand migrations, and contract migrations are refused while one runs that they would break.
    """
    if sql and not only_plan:
        raise Misuse("--sql goes with --plan")
    if to and expand_only:
        raise Misuse("give --to or --expand-only, not both")
    settings = load_settings(data=data, database_url=database_url)
    if only_plan:
        return _show_plan(settings, to, expand_only=expand_only, sql=sql)
    with one_line_failures():
        make_plan(None, to)  # a wrong version makes no new database
    with one_line_failures(), own_database(settings):
        database = open_database(settings.url)
        try:
            done = upgrade_schema(database, to, expand_only=expand_only, copies=not no_copy, note=_note_step)
            left = read_plan(database).steps
        finally:
            database.close()
    _report(done, left)
    return 0


def _note_step(step: Step, took_s: float) -> None:
    click.echo(f"{step.revision} {step.name}: {took_s:.1f} s", err=True)


def _report(done: Migrated, left: tuple[Step, ...]) -> None:
    if done.before == done.after:
        click.echo(f"schema version {done.after}, as before")
    else:
        click.echo(f"schema version {done.before or 'none'} -> {done.after} in {done.took_s:.1f} s")
    if done.copy:
        click.echo(f"the database as it was before is {done.copy}")
    if left:
        click.echo(f"still to be run: {', '.join(f'{step.revision} ({step.phase})' for step in left)}")


def _show_plan(settings: Settings, to: str | None, *, expand_only: bool, sql: bool) -> int:
    """Print what a migration would do, and return the exit code."""
    with one_line_failures():
        database = open_database(settings.url) if is_there(settings.url) else None
        try:
            plan = make_plan(None, to) if database is None else read_plan(database, to, expand_only=expand_only)
            _write_plan(settings, plan, sql=sql)
        finally:
            if database is not None:
                database.close()
    return PENDING if plan.steps else 0


def _write_plan(settings: Settings, plan: MigrationPlan, *, sql: bool) -> None:
    click.echo(f"database: {show_url(settings.url)}")
    click.echo(f"schema: {plan.before or 'none, it is empty'}; this program's: {known_revisions()[-1]}")
    dialect = "postgresql" if settings.database_url.startswith("postgres") else "sqlite"
    if plan.before is None and plan.steps and not sql:
        click.echo(f"run {plan.steps[0].revision} to {plan.after}, all in one transaction")
        return
    for step in plan.steps:
        verb = "take back" if plan.is_back else "run"
        unit = "one transaction" if step.in_transaction else "steps that commit by themselves"
        unit = unit if dialect == "postgresql" and plan.before else "in the one transaction of all"
        click.echo(f"{verb} {step.revision} {step.phase:8} {step.name}")
        click.echo(f"     {unit}{'; ' * bool(step.remark)}{step.remark}")
        if sql:
            click.echo(write_sql(plan, step, dialect) or "-- its statements depend on what is in the database")
    if not plan.steps:
        click.echo("nothing to do")
    for step in plan.left:
        click.echo(f"then  {step.revision} {step.phase:8} {step.name}")
