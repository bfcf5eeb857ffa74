"""What concerns the run as a whole: how much it tries, and what makes it quick."""

import gc

import pytest
from shared_statements import share_statements
from tries import FACTORS, choose_tries


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tries", choices=list(FACTORS), default="few", help="how often to try what is drawn by lot (few)"
    )


def pytest_configure(config: pytest.Config) -> None:
    choose_tries(config.getoption("tries"))
    share_statements()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through the modules and tests, which stay anyway, again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
