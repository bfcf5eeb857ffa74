"""What migrations say of themselves, and what is planned from that."""

from collections.abc import Iterator

import pytest
from next_release import ADDED, CONTRACTED, FILLED, last_revision, next_release

from piecework.server.errors import MigrationRefused
from piecework.server.store.schema.revisions import (
    CONTRACT,
    EXPAND,
    known_revisions,
    list_pending,
    make_plan,
    may_wait,
    read_steps,
)


@pytest.fixture
def ahead() -> Iterator[None]:
    with next_release():
        yield


def _revisions(steps) -> list[str]:
    return [step.revision for step in steps]


def test_every_migration_says_who_may_work_beside_it():
    for step in read_steps():
        module = next(each for each in _modules() if each.revision == step.revision)
        if step.revision < "0028":  # no server could work beside another schema then
            assert step.phase == CONTRACT
            assert step.oldest == step.revision
            continue
        assert module.phase in {EXPAND, CONTRACT}
        assert module.remark
        assert hasattr(module, "oldest") == (module.phase == CONTRACT)
        assert step.oldest <= step.revision
        assert callable(module.downgrade)


def _modules():
    from importlib import import_module
    from pkgutil import iter_modules

    from piecework.migrations import versions

    return [import_module(f"{versions.__name__}.{each.name}") for each in iter_modules(versions.__path__)]


def test_versions_are_ordered_as_texts():
    assert {len(revision) for revision in known_revisions()} == {4}
    assert all(revision.isdigit() for revision in known_revisions())


@pytest.mark.usefixtures("ahead")
def test_a_plan_leads_to_the_programs_schema_or_stops_before():
    last = last_revision()
    assert _revisions(make_plan(last).steps) == [ADDED, FILLED, CONTRACTED]
    stopped = make_plan(last, FILLED)
    assert (stopped.after, _revisions(stopped.left)) == (FILLED, [CONTRACTED])
    assert make_plan(last, expand_only=True) == stopped
    assert make_plan(None, expand_only=True).after == CONTRACTED
    assert make_plan(CONTRACTED).steps == ()
    assert make_plan(FILLED, expand_only=True).steps == ()


@pytest.mark.usefixtures("ahead")
def test_expanding_goes_back_and_contracting_does_not():
    last = last_revision()
    plan = make_plan(FILLED, last)
    assert plan.is_back
    assert (plan.after, _revisions(plan.steps)) == (last, [FILLED, ADDED])
    with pytest.raises(MigrationRefused, match=rf"no way back .* {CONTRACTED} \(every job has a tint\)"):
        make_plan(CONTRACTED, last)
    with pytest.raises(MigrationRefused, match="no way back from schema version 9002 to 0027"):
        make_plan(FILLED, "0027")


def test_a_version_that_nobody_knows_is_refused():
    with pytest.raises(MigrationRefused, match="there is no schema version 4711: this program knows 0001 to 0"):
        make_plan(last_revision(), "4711")


@pytest.mark.usefixtures("ahead")
def test_a_program_waits_only_with_what_it_does_not_need():
    assert may_wait(FILLED, list_pending(FILLED))
    assert not may_wait(ADDED, list_pending(ADDED))
    assert not may_wait(last_revision(), list_pending(last_revision()))
    assert not may_wait(None, list_pending(None))
