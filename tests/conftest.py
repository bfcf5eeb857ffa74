"""What concerns the run as a whole: how much it tries, and what makes it quick."""

import gc
import json
from collections import Counter
from pathlib import Path

import pytest
from shared_statements import share_statements
from tries import FACTORS, choose_tries

ROOT = Path(__file__).parents[1]
SECONDS: Counter[str] = Counter()
"""What the tests of each file took."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tries", choices=list(FACTORS), default="few", help="how often to try what is drawn by lot (few)"
    )
    parser.addoption("--note-times", type=Path, metavar="FILE", help="write how long the tests of each file took")


def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(10_000, 20, 20)
    choose_tries(config.getoption("tries"))
    share_statements()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through the modules and tests, which stay anyway, again and again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    SECONDS[str(ROOT / report.location[0])] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    if path := session.config.getoption("note_times"):
        path.write_text(json.dumps(SECONDS))
