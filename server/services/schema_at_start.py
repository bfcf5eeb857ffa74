"""The schema that a server, or a command, finds when it opens the database, and what it may do about it."""

import structlog

from piecework.server.errors import SchemaMismatch
from piecework.server.settings import Migrate
from piecework.server.store.engine.database import Database
from piecework.server.store.schema.migrating import upgrade_schema
from piecework.server.store.schema.revisions import list_pending
from piecework.server.store.schema.standing import Standing, read_standing

log = structlog.get_logger("server")


def prepare_schema(database: Database, migrate: Migrate = "auto") -> Standing:
    """Give the database the program's schema where that is allowed, and return how they stand then.

    ``auto`` makes the schema in a new database, and migrates an older one that no other server can use. ``expand``
    runs only what servers of the older schema can work beside, also where there are some; ``never`` does nothing.
    Raises SchemaMismatch when this program cannot use the database after that.
    """
    standing = read_standing(database)
    if standing.found is not None and standing.found >= standing.own:
        return standing
    if migrate == "expand" or (migrate == "auto" and (standing.found is None or not database.is_shared)):
        done = upgrade_schema(database, expand_only=migrate == "expand")
        if done.before != done.after:
            copy = {"copy": str(done.copy)} if done.copy else {}
            took_s = round(done.took_s, 3)
            log.info("migrated the schema", before=done.before or "none", after=done.after, took_s=took_s, **copy)
        standing = read_standing(database)
    if not standing.is_usable:
        raise SchemaMismatch(_tell_what_to_do(standing))
    return standing


def note_standing(standing: Standing) -> None:
    """Have the log say that the program's schema and the database's differ, although they go together."""
    if standing.found != standing.own:
        newer = "the database has a newer schema, which this program may use"
        older = (
            "contract migrations are pending: run `piecework server migrate` when all servers are of this version"
        )
        log.info(newer if standing.is_newer else older, schema=standing.found, own=standing.own)


def _tell_what_to_do(standing: Standing) -> str:
    if standing.found is None:
        return "the database is empty: run `piecework server migrate`"
    if list_pending(standing.found)[0].is_expand:
        todo = "run `piecework server migrate --expand-only`, also while its servers work"
    else:
        todo = "stop its servers and run `piecework server migrate`"
    return f"the database has an older schema ({standing.found}; this program needs {standing.own}): {todo}"
