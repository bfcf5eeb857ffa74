import importlib
import subprocess
import sys

import pytest

import piecework


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


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        piecework.Server  # noqa: B018


def test_all_names_of_the_client_package_are_there():
    package = importlib.import_module("piecework.client")
    assert all(hasattr(package, name) for name in package.__all__)
