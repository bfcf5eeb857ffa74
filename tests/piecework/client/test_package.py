import importlib
import pickle
import subprocess
import sys
from importlib.resources import files

import pytest

import piecework
from piecework.protocol.ids import Id


def test_the_client_is_at_the_top_of_the_package():
    from piecework.client import Client

    assert piecework.Client is Client
    assert set(piecework.__all__) <= set(dir(piecework)) | {"Client"}


@pytest.mark.integration
def test_the_client_is_imported_only_when_it_is_asked_for():
    code = (
        "import sys, piecework; loaded = lambda: print('httptools' in sys.modules);"
        "loaded(); piecework.Client; loaded()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


@pytest.mark.integration
def test_what_few_need_is_imported_only_then():
    code = "import sys, piecework; piecework.Client; print('asyncio' in sys.modules, 'pytest' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_errors_and_results_are_at_the_top_of_the_package():
    package = importlib.import_module("piecework.client")
    assert set(package.__all__) <= set(piecework.__all__) <= set(dir(piecework))
    assert all(getattr(piecework, name) is getattr(package, name) for name in package.__all__)


def test_the_package_says_that_it_is_typed():
    assert (files("piecework") / "py.typed").is_file()


@pytest.mark.parametrize(
    "error",
    [
        piecework.ServerUnreachable("http://h", "refused"),
        piecework.ChecksumMismatch("blob", "a", "b"),
        piecework.StillRunning([Id(3)]),
        piecework.NotReady("f/r", 1, 2, "why"),
        piecework.JobFailed(Id(3), "trap", "unreachable"),
        piecework.JobCancelled(Id(3)),
        piecework.NotFound(404, 5, "nothing", 2.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_travels_between_processes(error):
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), copied.args, vars(copied)) == (type(error), error.args, vars(error))


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        piecework.Server  # type: ignore[attr-defined]  # noqa: B018


def test_all_names_of_the_client_package_are_there():
    package = importlib.import_module("piecework.client")
    assert all(hasattr(package, name) for name in package.__all__)


def test_every_error_of_the_client_is_at_the_top_of_the_package():
    errors = importlib.import_module("piecework.client.errors")
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert errors.ClientError in kinds
    assert [each.__name__ for each in kinds if getattr(piecework, each.__name__, None) is not each] == []
