"""The documents, and the script that writes their generated parts."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def builder():
    """The script ``docs/build_tables.py`` as a module."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield importlib.import_module("build_tables")
    finally:
        sys.path.remove(str(ROOT / "docs"))


@pytest.fixture(scope="session")
def documents(builder):
    """Every document's text, by its path below the project's folder."""
    return {str(path.relative_to(ROOT)): path.read_text() for path in builder.find_documents()}
