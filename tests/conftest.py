"""What concerns the run as a whole: how much it tries, and what makes it quick."""

import gc
import itertools
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import S3Server, run_s3
from shared_statements import share_statements
from tries import FACTORS, choose_tries

NUMBERS = itertools.count()
NAME_MAX = 30


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tries", choices=list(FACTORS), default="few", help="how often to try what is drawn by lot (few)"
    )
    parser.addoption("--seeds", type=int, help="how many histories to simulate (as many as --tries has of 80)")
    parser.addoption("--first-seed", type=int, default=1000, help="the seed of the first of them (1000)")


def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(10_000, 20, 20)
    # A shell's background job ignores Ctrl-C, and so would all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["PIECEWORK_CONFIG"] = os.devnull  # what whoever runs the tests has set up is not tested
    choose_tries(config.getoption("tries"))
    share_statements()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through the modules and tests, which stay anyway, again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own. pytest's way to its name is a look at all that are there: they are thousands."""
    name = re.sub(r"\W", "_", request.node.name)[:NAME_MAX]
    path = tmp_path_factory.getbasetemp() / f"{name}{next(NUMBERS)}"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server, started when the first test asks for it."""
    try:
        with run_s3(tmp_path_factory.mktemp("s3") / "server") as server:
            yield server
    except LookupError as error:
        pytest.skip(str(error))
