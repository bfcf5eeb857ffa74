"""Rows of the registry's modules: names and tags of blobs."""

from functools import partial

from sqlalchemy import Connection, bindparam, delete, exists, select, update
from sqlalchemy.dialects import postgresql

from piecework.server.store.engine.ids import read_newest
from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables.functions import modules, revisions
from piecework.server.store.records import Module

_columns = (
    modules.c.org, modules.c.module, modules.c.tag, modules.c.blob_id, modules.c.sha256, modules.c.size,
    modules.c.abi, modules.c.info, modules.c.created_at,
)  # fmt: skip
_this = (
    modules.c.org == bindparam("owner"),
    modules.c.module == bindparam("which"),
    modules.c.tag == bindparam("version"),
)
_KEY = ("owner", "which", "version")
# SQLite spells it in the same way.
_insert = Statement(postgresql.insert(modules).on_conflict_do_nothing(), *(column.name for column in _columns))
_by_name = Statement(select(*_columns).where(*_this), *_KEY)
_lock_by_name = Statement(select(*_columns).where(*_this).with_for_update(), *_KEY)
_by_digest = Statement(select(*_columns).where(modules.c.sha256 == bindparam("digest")).limit(1), "digest")
_page = Statement(
    select(*_columns)
    .where(modules.c.blob_id > bindparam("above"), modules.c.blob_id < bindparam("below"))
    .order_by(modules.c.blob_id.desc())
    .limit(bindparam("limit")),
    "above", "below", "limit",
)  # fmt: skip
_names = Statement(
    select(modules.c.org, modules.c.module, modules.c.tag).order_by(modules.c.org, modules.c.module, modules.c.tag)
)
_replace = Statement(
    update(modules)
    .where(*_this)
    .values(
        blob_id=bindparam("blob"), sha256=bindparam("digest"), size=bindparam("bytes"), abi=bindparam("kind"),
        info=bindparam("text"), created_at=bindparam("at"),
    ),
    *_KEY, "blob", "digest", "bytes", "kind", "text", "at",
)  # fmt: skip
_delete = Statement(delete(modules).where(*_this), *_KEY)
_deployed = Statement(select(exists().where(revisions.c.module == bindparam("pinned"))), "pinned")


def add_module(connection: Connection, new: Module) -> bool:
    """Store a module. Returns False, and stores nothing, when its name and tag are taken."""
    return _insert.run(connection, *new) == 1


def find_module(connection: Connection, org: str, module: str, tag: str) -> Module | None:
    row = _by_name.row(connection, org, module, tag)
    return Module(*row) if row else None


def lock_module(connection: Connection, org: str, module: str, tag: str) -> Module | None:
    """Return a module that nobody else changes before this transaction ends."""
    row = _lock_by_name.row(connection, org, module, tag)
    return Module(*row) if row else None


def find_by_digest(connection: Connection, sha256: bytes) -> Module | None:
    """Return one of the modules with these bytes."""
    row = _by_digest.row(connection, sha256)
    return Module(*row) if row else None


def list_modules(connection: Connection, *, before: int, limit: int) -> list[Module]:
    """Return modules whose blobs are older than ``before``, newest first."""
    return [Module(*row) for row in read_newest(partial(_page.rows, connection), before, limit)]


def list_names(connection: Connection) -> list[tuple[str, str, str]]:
    """Return (org, module, tag) of all modules, in order."""
    return [(org, module, tag) for org, module, tag in _names.rows(connection)]


def replace_module(connection: Connection, new: Module) -> bool:
    """Give a name and tag another content. Returns False when there is no such module."""
    return _replace.run(connection, *new) == 1


def delete_module(connection: Connection, org: str, module: str, tag: str) -> bool:
    """Remove a module's name; its blob stays. Returns False when there was none."""
    return _delete.run(connection, org, module, tag) == 1


def is_deployed(connection: Connection, pinned: str) -> bool:
    """Tell whether a revision of a function was made of the module ``org/module/tag@sha256:digest``."""
    return bool(_deployed.value(connection, pinned))
