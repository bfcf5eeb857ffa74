"""How files of jobs may be called, and patterns."""

import pytest

from piecework.protocol.job_files import Patterns, find_clash, is_path, is_pattern, sum_files


@pytest.mark.parametrize("text", ["a", "a/b.c", "é", "..a", "a..", ".a", "-", "a b", "a" * 200])
def test_paths(text):
    assert is_path(text)
    assert is_pattern(f"{text}/")


@pytest.mark.parametrize(
    "text", ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b", "a\nb", "\x9b", "\ud800", "é" * 101]
)
def test_what_is_no_path(text):
    assert not is_path(text)


def test_a_file_is_no_folder_of_others():
    assert find_clash(["a/b", "a"]) == "a"
    assert find_clash(["a/b/c", "x", "a/b"]) == "a/b"
    assert find_clash(["a", "ab/c", "a.b"]) is None


def test_the_digest_of_files_is_that_of_the_lines_of_sha256sum():
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sum_files([("b", empty), ("a", empty)]) == sum_files([("a", empty), ("b", empty)])
    assert sum_files([]) == empty
    # touch a; sha256sum a | sha256sum
    assert sum_files([("a", empty)]) == "fba1930570cf2d33a2a05ff43a4fea532382611f43876988fc9c31fd9ce102d1"


def test_patterns_that_stand_for_any_folders_cost_no_more_with_each_level():
    patterns = Patterns(["/".join(["**", "a"] * 15)] * 50)
    reached = patterns.start
    for _ in range(31):
        reached = patterns.enter(reached, "a")
    assert patterns.fits(reached, "a")
    assert len(reached) <= 50 * 32
