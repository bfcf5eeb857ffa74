"""A class name means one thing in all of the product."""

import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("piecework", "server", "worker_agent")
SHARED = {
    "Function": "what people call: a row of the server, and what a replica runs of it",
    "Job": "a job: its handle in the program that submitted it, and its row at the server",
    "JobOptions": "how a job is to run: as a caller says it, and as the server keeps it",
    "LambdaOptions": "what a lambda sets for its jobs: as a caller says it, and as the server keeps it",
    "Settings": "how a program runs: the server, the agent",
    "SettingsError": "values of settings that cannot be used: of the server, of the agent",
}
"""Names that two rooms give to two sides of one thing."""


@cache
def find_places() -> dict[str, list[str]]:
    """Return where classes at the top of modules are, by name."""
    places = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for found in re.finditer(r"^class (\w+)", path.read_text(), re.MULTILINE):
                places[found[1]].append(str(path.relative_to(ROOT)))
    return places


@pytest.mark.slow
def test_a_class_name_has_one_meaning():
    several = {name: places for name, places in find_places().items() if len(places) > 1}
    assert {name: places for name, places in several.items() if name not in SHARED} == {}


def test_what_is_said_to_share_a_name_does():
    places = find_places()
    assert [name for name in SHARED if len(places[name]) != 2] == []
