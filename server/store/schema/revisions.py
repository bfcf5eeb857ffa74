"""What each migration says of itself: which servers may work beside it, and how it runs.

Each file in ``migrations/versions`` says ``phase = "expand"``: servers of the schema before go on beside it; or
``phase = "contract"``: no server may run that is older than the schema ``oldest``. CONTRIBUTING.md has all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import takewhile
from pkgutil import iter_modules
from types import ModuleType

from piecework.migrations import versions
from piecework.server.errors import MigrationRefused

EXPAND, CONTRACT = "expand", "contract"


@dataclass(frozen=True)
class Step:
    """One migration."""

    revision: str
    below: str | None
    """The version before it; None for the first."""
    name: str
    phase: str
    """``expand`` or ``contract``; those of the time before servers could share a schema say nothing: contract."""
    oldest: str
    """The oldest schema whose servers may use the database after it."""
    in_transaction: bool
    """Whether it is one transaction; else it is several steps, each of which may be repeated."""
    remark: str
    """What it locks, reads or writes, for who has to choose an hour for it."""

    @property
    def is_expand(self) -> bool:
        return self.phase == EXPAND


@dataclass(frozen=True)
class MigrationPlan:
    """What a migration is to run."""

    before: str | None
    """The database's schema; None when it is empty."""
    after: str | None
    steps: tuple[Step, ...] = ()
    """In the order in which they run."""
    is_back: bool = False
    """Whether the steps are taken back."""
    left: tuple[Step, ...] = ()
    """What is still to be run after it, to this program's schema."""


@cache
def known_revisions() -> list[str]:
    """Return the schema versions that this program knows, oldest first: they begin the names of the migrations."""
    return sorted(module.name.partition("_")[0] for module in iter_modules(versions.__path__))


@cache
def read_steps() -> tuple[Step, ...]:
    """Return all migrations, oldest first. Imports them, and with them Alembic."""
    steps: list[Step] = []
    for name in sorted(module.name for module in iter_modules(versions.__path__)):
        module = import_module(f"{versions.__name__}.{name}")
        steps.append(_read_step(name, module, steps[-1] if steps else None))
    return tuple(steps)


def _read_step(name: str, module: ModuleType, last: Step | None) -> Step:
    revision, _, words = name.partition("_")
    phase = getattr(module, "phase", CONTRACT)
    return Step(
        revision=revision,
        below=last.revision if last else None,
        name=words.replace("_", " "),
        phase=phase,
        oldest=last.oldest if last and phase == EXPAND else getattr(module, "oldest", revision),
        in_transaction=getattr(module, "in_transaction", True),
        remark=getattr(module, "remark", ""),
    )


def list_pending(before: str | None) -> tuple[Step, ...]:
    """Return what is to be run from a schema that this program knows to its own."""
    return tuple(step for step in read_steps() if before is None or step.revision > before)


def may_wait(before: str | None, pending: Sequence[Step]) -> bool:
    """Tell whether this program works on a schema although migrations are pending.

    It does when they only remove what neither it nor servers of that schema use.
    """
    return before is not None and all(not step.is_expand and step.oldest <= before for step in pending)


def make_plan(before: str | None, to: str | None = None, *, expand_only: bool = False) -> MigrationPlan:
    """Return what leads from a schema to the version ``to``, the program's own unless given.

    ``expand_only`` stops before the first migration that older servers cannot work beside; an empty database has
    none of them, and gets all. Raises MigrationRefused when there is no such version or no way back to it.
    """
    if to is not None and to not in known_revisions():
        first, last = known_revisions()[0], known_revisions()[-1]
        raise MigrationRefused(f"there is no schema version {to}: this program knows {first} to {last}")
    if to is not None and before is not None and to < before:
        return _plan_back(before, to)
    pending = list_pending(before)
    steps = tuple(step for step in pending if to is None or step.revision <= to)
    if expand_only and before is not None:
        steps = tuple(takewhile(lambda step: step.is_expand, steps))
    after = steps[-1].revision if steps else before
    return MigrationPlan(before, after, steps, left=pending[len(steps) :])


def _plan_back(before: str, to: str) -> MigrationPlan:
    steps = tuple(step for step in reversed(read_steps()) if to < step.revision <= before)
    final = next((step for step in steps if not step.is_expand), None)
    if final is not None:
        raise MigrationRefused(
            f"there is no way back from schema version {before} to {to}: {final.revision} ({final.name}) is a"
            " contract migration, and those cannot be taken back. Nothing was changed. Restore the copy or backup"
            " that was made before it"
        )
    return MigrationPlan(before, to, steps, is_back=True, left=list_pending(to))


def oldest_for(revision: str) -> str:
    """Return the oldest schema whose servers may use a database of this one."""
    return next(step.oldest for step in read_steps() if step.revision == revision)
