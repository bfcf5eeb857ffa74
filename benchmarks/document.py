"""Write the figures of ``results/*.json`` into ``docs/performance.md``: ``python benchmarks/document.py``.

A part with figures stands between ``<!-- figures: NAME -->`` and ``<!-- /figures -->``; PARTS has what writes it.
"""

import json
import re
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import http_clients
import http_functions
import tail
from harness import comparison, profiles
from harness.aims import aims_table
from harness.tables import Table, describe_machine
from scaling import TABLES

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
LINE = 115
PART = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- /figures -->)", re.DOTALL)


def load(name: str) -> dict[str, Any]:
    """Return the stored results of a benchmark. Raises FileNotFoundError when it never ran."""
    results: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return results


def write_comparison(table: Callable[[dict[str, Any]], Table], name: str = "compare") -> str:
    """Write one table of a comparison."""
    return table(load(name)).markdown()


def write_aims() -> str:
    """Write the aims and what came of them."""
    return aims_table(load("compare"), load("compare-long"), load("scale")["parts"]).markdown()


def write_scale(part: str) -> str:
    """Write one part of the measurements of scale, with what it ran on."""
    found = load("scale")["parts"][part]
    return f"{TABLES[part](found['rows']).markdown()}\n\n{write_machine(found['about'])}"


def write_tail() -> str:
    """Write how short jobs fare among long ones."""
    results = load("tail")
    return f"{tail.tail_table(results).markdown()}\n\n{write_machine(results['about'])}"


def write_http() -> str:
    """Write how functions over HTTP do beside a view."""
    results = load("http_functions")
    return f"{http_functions.http_table(results).markdown()}\n\n{write_machine(results['about'])}"


def write_profile(scenario: str, part: str) -> str:
    """Write where the CPU time of a group of processes goes."""
    found = load(f"flame-{scenario}")["parts"][part]
    table = profiles.table(part, found)
    return f"{table.title}:\n\n{table.markdown()}"


def write_clients(table: Callable[[dict[str, Any]], Table]) -> str:
    """Write one table of our HTTP connections beside libraries."""
    return table(load("http_clients")).markdown()


def write_machine(about: dict[str, Any]) -> str:
    """Write what figures were measured on."""
    return textwrap.fill(f"Measured on {describe_machine(about)}.", LINE)


PROFILES = (
    ("batch", "server"),
    ("batch", "agents"),
    ("single", "server"),
    ("single", "agents"),
    ("v05", "server"),
)

PARTS: dict[str, Callable[[], str]] = {
    "aims": write_aims,
    "machine": lambda: write_machine(load("compare")["about"]),
    "comparison": partial(write_comparison, comparison.speed_table),
    "cost": partial(write_comparison, comparison.cost_table),
    "setup": partial(write_comparison, comparison.setup_table),
    "comparison-long": partial(write_comparison, comparison.speed_table, "compare-long"),
    "cost-long": partial(write_comparison, comparison.cost_table, "compare-long"),
    "machine-long": lambda: write_machine(load("compare-long")["about"]),
    "tail": write_tail,
    "http": write_http,
    "http-clients": partial(write_clients, http_clients.exchange_table),
    "http-clients-job": lambda: (
        f"{write_clients(http_clients.share_table)}\n\n{write_machine(load('http_clients')['about'])}"
    ),
    **{f"scale-{part}": partial(write_scale, part) for part in TABLES},
    **{f"profile-{what}-{part}": partial(write_profile, what, part) for what, part in PROFILES},
}
"""What writes a part, by its name."""


def rebuild(text: str) -> str:
    """Return a page's text with the figures as they are stored. Raises KeyError for an unknown part."""
    return PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}\n{match[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(rebuild(PAGE.read_text()))
