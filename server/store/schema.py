"""The schema's version: Alembic's migrations are its only source."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

import migrations
from server.errors import SchemaMismatch


def current_revision(engine: Engine) -> str | None:
    """Return the schema version in the database; None when it is empty."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade_schema(engine: Engine) -> tuple[str | None, str]:
    """Bring the database to the program's schema, from nothing or from any older version.

    Returns the version before and after. Safe to repeat. Raises SchemaMismatch when the database is newer than
    the program: an old program must not write to it.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    before, head = current_revision(engine), script.get_current_head()
    assert head is not None
    if before is not None and before not in {revision.revision for revision in script.walk_revisions()}:
        raise SchemaMismatch(
            f"the database has schema version {before}, which this program does not know: it was written by a newer"
            f" piecework (this one knows versions up to {head}). Install that version, or use another database"
        )
    if before != head:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return before, head


def check_schema(engine: Engine) -> bool:
    """Tell whether the database has the program's schema. Raises SchemaMismatch when it is newer."""
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    known = [revision.revision for revision in script.walk_revisions()]
    before = current_revision(engine)
    if before is not None and before not in known:
        raise SchemaMismatch(f"the database has schema version {before}, newer than this program's {known[0]}")
    return before == known[0]
