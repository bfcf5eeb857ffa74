"""Which files a job gives back: patterns, links, names, bounds, and what guests may have made there."""

import os

import pytest

from piecework.protocol.job_files import FILES_MAX
from piecework.worker_agent.jobs.work import collecting
from piecework.worker_agent.jobs.work.collecting import TooMuchError, collect, open_file
from piecework.worker_agent.runtimes.trees import remove_tree

ROOM = 10**6


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "own"
    (folder / "out" / "deep").mkdir(parents=True)
    for name in ("a.o", "b.c", "out/c.o", "out/deep/d.o", "out/deep/e"):
        (folder / name).write_text(name)
    return folder


def names(folder, *patterns, limit=ROOM):
    return [each.name for each in collect(folder, patterns, limit).files]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*.o"], ["a.o"]),
        (["**/*.o"], ["a.o", "out/c.o", "out/deep/d.o"]),
        (["out/"], ["out/c.o", "out/deep/d.o", "out/deep/e"]),
        (["out/**"], ["out/c.o", "out/deep/d.o", "out/deep/e"]),
        (["out/*/?"], ["out/deep/e"]),
        (["**/deep/*", "b.c"], ["b.c", "out/deep/d.o", "out/deep/e"]),
        (["[ab].*"], ["a.o", "b.c"]),
        (["out/**/**/d.o"], ["out/deep/d.o"]),
        (["a.o", "*.o", "none", "out"], ["a.o"]),
    ],
)
def test_patterns_choose_files(folder, patterns, expected):
    assert names(folder, *patterns) == expected


def test_no_link_is_followed(folder, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (folder / "link.o").symlink_to(tmp_path / "secret")
    (folder / "inner.o").symlink_to("a.o")
    (folder / "away").symlink_to(tmp_path)
    assert names(folder, "**") == ["a.o", "b.c", "out/c.o", "out/deep/d.o", "out/deep/e"]


def test_a_link_in_the_place_of_a_file_that_was_found_is_not_followed(folder, tmp_path):
    (tmp_path / "secret").write_text("secret")
    assert names(folder, "out/**/e") == ["out/deep/e"]
    (folder / "out" / "deep" / "e").unlink()
    (folder / "out" / "deep" / "e").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"), open_file(folder, "out/deep/e"):
        pass
    (folder / "out").rename(tmp_path / "moved")
    (folder / "out").symlink_to(tmp_path / "moved")
    with pytest.raises(OSError), open_file(folder, "out/c.o"):  # which errno, the system chooses
        pass


def test_what_is_no_file_is_left_out(folder):
    os.mkfifo(folder / "pipe.o")
    assert names(folder, "*.o") == ["a.o"]
    (folder / "a.o").unlink()
    os.mkfifo(folder / "a.o")
    with pytest.raises(OSError, match="no file any more"), open_file(folder, "a.o"):
        pass


def test_names_that_no_text_is_are_counted(folder):
    for name in (b"\xff.o", b"new\nline.o", b"x" * 201 + b".o"):
        (folder / os.fsdecode(name)).touch()
    found = collect(folder, ["*.o"], ROOM)
    assert ([each.name for each in found.files], found.left_out) == (["a.o"], 3)


def test_trees_that_are_deeper_than_any_path_are_walked_no_further_than_names_go(folder):
    place = os.open(folder, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(os.open("deepest.o", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)
    try:
        assert names(folder, "**/*.o") == ["a.o", "out/c.o", "out/deep/d.o"]
    finally:
        remove_tree(folder)  # else nobody could


def test_folders_in_which_nothing_can_fit_are_not_looked_at(folder):
    (folder / "out").chmod(0)
    assert names(folder, "*.o", "other/**") == ["a.o"]
    (folder / "out").chmod(0o700)


def test_too_many_files_are_refused(folder, monkeypatch):
    monkeypatch.setattr(collecting, "FILES_MAX", 4)
    assert len(names(folder, "**/*.o")) == 3
    with pytest.raises(TooMuchError, match="more than 4 files fit"):
        collect(folder, ["**"], ROOM)
    assert FILES_MAX == 1000


def test_one_file_under_many_names_is_not_given_back_for_each_without_end(folder):
    (folder / "big").write_bytes(bytes(1000))
    for number in range(10):
        os.link(folder / "big", folder / f"big{number}")
    with pytest.raises(TooMuchError, match="more than 5000 bytes"):
        collect(folder, ["big*"], 5000)


def test_of_a_guest_that_was_stopped_the_first_files_are_kept(folder):
    found = collect(folder, ["**"], ROOM)
    assert [each.name for each in found.cut(10).files] == ["a.o", "b.c"]
    assert found.cut(ROOM) == found
