"""Trees of folders that are deeper than a path, and than Python's stack."""

import os
import sys

import pytest

from piecework.worker_agent.runtimes.trees import measure_tree, remove_tree

DEPTH = sys.getrecursionlimit() + 100


@pytest.fixture
def deep(tmp_path):
    """Return a folder with one in the other, and a file of three bytes in the last."""
    folder = tmp_path / "deep"
    folder.mkdir()
    place = os.open(folder, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("a-name-that-makes-it-long", dir_fd=place)
        below = os.open("a-name-that-makes-it-long", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    file = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=place)
    os.write(file, b"abc")
    os.close(file)
    os.close(place)
    yield folder
    remove_tree(folder)


def test_all_of_a_deep_tree_counts(deep):
    assert measure_tree(deep) == (3, DEPTH + 1)


def test_deep_tree_is_removed(deep):
    remove_tree(deep)
    assert not deep.exists()


def test_what_links_lead_to_is_left_alone(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    for each in (outside, folder, folder / "sub"):
        each.mkdir()
    (outside / "file").write_bytes(b"kept")
    (folder / "out").symlink_to(outside)
    (folder / "sub" / "out").symlink_to(outside / "file")
    (folder / "file").write_bytes(b"12345")
    links = len(str(outside)) + len(str(outside / "file"))
    assert measure_tree(folder) == (5 + links, 4)
    remove_tree(folder)
    remove_tree(folder)
    assert (folder.exists(), (outside / "file").read_bytes()) == (False, b"kept")
