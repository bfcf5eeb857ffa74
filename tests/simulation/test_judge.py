"""The judge notices when a promise is broken: here servers and agents break one each, on purpose."""

from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

import pytest
from history import LiveThrough

from piecework.protocol.codes import Code
from piecework.server.services.queue import assembly
from piecework.server.services.queue.dependencies.dependants import Dependants
from piecework.server.services.queue.leasing import contracts
from piecework.server.services.queue.leasing.outcomes import Outcomes
from piecework.server.services.queue.limits.limiter import Limiter
from piecework.server.services.queue.schedules import timekeeper
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.services.queue.webhooks.deliveries import Deliveries
from piecework.server.store.queue.figures import feed
from piecework.server.store.queue.figures.counters import add_tallies
from piecework.server.store.queue.figures.tallies import Tally
from piecework.worker_agent.jobs.leases.lease_table import LeaseTable

pytestmark = pytest.mark.integration  # they wait long, in simulated time, for ends that never come
SEEDS = (49, *range(1, 30))
"""In the first, requests get lost as few others lose them."""


def test_outcomes_under_any_lease_are_noticed(on_sqlite: LiveThrough):
    def judge(_self: Outcomes, job: Any, *_: Any) -> tuple[Code, str]:
        return (Code.OK, "") if job is not None else (Code.JOB_NOT_FOUND, "")

    with patch.object(Outcomes, "_judge", judge):
        assert finds(on_sqlite, "its result was acknowledged, and is lost", "results were accepted under")


def test_jobs_that_nobody_rescues_are_noticed(on_sqlite: LiveThrough):
    with (
        patch.object(timekeeper, "move_overdue", lambda *_, **__: Changes()),
        patch.object(contracts, "move_overdue", lambda *_, **__: Changes()),
    ):
        assert finds(on_sqlite, "it has not ended")


def test_outcomes_that_an_agent_neither_sends_again_nor_gives_up_are_noticed(on_sqlite: LiveThrough):
    with patch.object(LeaseTable, "put_back", lambda *_: None):
        assert finds(on_sqlite, "it has not ended")


def test_dependants_that_nobody_tells_are_noticed(on_sqlite: LiveThrough):
    with patch.object(Dependants, "react", lambda *_: ()), patch.object(Dependants, "look_after", lambda _: 0):
        assert finds(on_sqlite, "it has not ended")


def test_limits_that_nobody_keeps_to_are_noticed(on_sqlite: LiveThrough):
    with patch.object(Limiter, "room", lambda *_: 100):
        assert finds(on_sqlite, "jobs of key")


def test_rates_that_nobody_keeps_to_are_noticed(on_sqlite: LiveThrough):
    with patch.object(Limiter, "room", lambda *_: 100):
        assert finds(on_sqlite, "jobs of a rate of")


def test_ends_that_nobody_is_told_of_are_noticed(on_sqlite: LiveThrough):
    with patch.object(Deliveries, "react", lambda *_: ()):
        assert finds(on_sqlite, "its webhook was told")


def test_ends_that_nobody_counts_are_noticed(on_sqlite: LiveThrough):
    with patch.object(assembly, "note_ended", lambda *_: ()):
        assert finds(on_sqlite, "were counted")


def test_tallies_that_are_added_up_twice_are_noticed(on_sqlite: LiveThrough):
    def add_twice(connection: Any, tallies: Iterable[Tally]) -> None:
        add_tallies(connection, [*tallies, *tallies])

    with patch.object(feed, "add_tallies", add_twice):
        assert finds(on_sqlite, "were counted")


def finds(live_through: LiveThrough, *texts: str) -> bool:
    """Tell whether a history has a fault with one of the texts in it; it need not be the first."""
    faults = (fault for seed in SEEDS for fault in live_through(seed).faults)
    return any(text in fault for fault in faults for text in texts)
