"""Histories by lot: whatever goes wrong in them, every promise holds.

``make simulate SEEDS=1000`` lives through more of them; ``--first-seed`` says from which seed on.
"""

from pathlib import Path
from random import Random

import pytest
from history import LiveThrough
from tries import tries
from trust import Trust

CRASHING, TRUSTING = 9, 8
"""Seeds of histories in which servers crash; in the second one, results are kept or agreed on."""
HISTORIES_EACH = 5
"""In one test."""
KEPT = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if line[0] != "#"
]
"""Seeds whose histories showed a fault once."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    seeds, first = (metafunc.config.getoption(name) for name in ("seeds", "first_seed"))
    seeds = tries(80) if seeds is None else seeds
    if "start" in metafunc.fixturenames:
        share = seeds // 4 if "on_postgres" in metafunc.fixturenames else seeds - seeds // 4
        metafunc.parametrize("start", range(first, first + share, HISTORIES_EACH))


@pytest.mark.integration
def test_every_promise_holds_on_sqlite(start: int, on_sqlite: LiveThrough):
    judge(start, on_sqlite)


@pytest.mark.integration
def test_every_promise_holds_on_postgresql(start: int, on_postgres: LiveThrough):
    judge(start, on_postgres)


@pytest.mark.integration
@pytest.mark.parametrize("seed", KEPT)
def test_a_history_that_went_wrong_once_goes_well(seed: int, on_sqlite: LiveThrough):
    assert on_sqlite(seed).faults == []


def judge(start: int, live_through: LiveThrough) -> None:
    verdicts = [live_through(seed) for seed in range(start, start + HISTORIES_EACH)]
    assert {each.seed: each.faults for each in verdicts if each.faults} == {}
    assert sum(each.jobs for each in verdicts) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [CRASHING, pytest.param(TRUSTING, marks=pytest.mark.integration)])
def test_a_history_depends_on_nothing_but_its_seed(seed: int, on_sqlite: LiveThrough):
    first, again = on_sqlite(seed), on_sqlite(seed)
    assert first == again
    assert min(first.jobs, first.requests, first.crashes) > 0
    assert (Trust.draw(Random(-seed)) is not None) == (seed == TRUSTING)
