"""Links in directories of the node: followed and made inside, and no way out of what was granted."""

from pathlib import Path

import pytest
from wasi_hand import ANSWER, BUFFER, CREATE, DIRECTORY, EXCLUSIVE, PLACE, READ, TRUNCATE, WRITE

from piecework.worker_agent.runtimes.wasi.errno import Errno
from piecework.worker_agent.runtimes.wasi.fs.resolving import LINKS_MAX, leads_out

FOLLOW = 1
OUT = {Errno.PERM, Errno.LOOP, Errno.NOTDIR, Errno.NOENT, Errno.XDEV, Errno.NAMETOOLONG}
"""What a way out may answer."""


@pytest.fixture
def tree(shared):
    """The granted folder with links of all kinds, of which ``out_…`` lead out of it."""
    links = {
        "to_file": "a", "to_dir": "sub", "to_nothing": "none", "to_self": "to_self", "chain": "sub/../to_file",
        "sub/up": "../a", "sub/round": "../sub/round", "slash": "sub/", "dot": "./.", "back": "sub/..",
        "out_up": "..", "out_file": "../secret", "out_abs": "/etc/passwd", "out_root": "/",
        "out_deep": "sub/../../secret", "out_back": "to_dir/../../secret", "sub/out": "../../secret",
        "out_twice": "out_up/secret", "out_again": "../shared/a", "out_proc": "/proc/self/root/etc/passwd",
        "out_slash": "../", "sub/out_dots": "./.././../secret", "out_self": "../shared",
    }  # fmt: skip
    for name, target in links.items():
        (shared / name).symlink_to(target)
    return shared


WAYS_OUT = [
    b"out_up", b"out_up/secret", b"out_up/shared/a", b"out_file", b"out_abs", b"out_root", b"out_root/etc/passwd",
    b"out_deep", b"out_back", b"sub/out", b"sub/../sub/out", b"out_twice", b"out_again", b"out_proc",
    b"to_dir/out", b"to_dir/../out_file", b"to_dir/../../secret", b"out_slash", b"out_slash/secret",
    b"sub/out_dots", b"to_dir/out_dots", b"dot/out_file", b"out_self/a", b"out_self/../secret", b"back/../secret",
    b"back/out_up/secret", b"..", b"../secret", b"/etc/passwd", b"/", b"//", b"sub/../..", b"sub/./../../secret",
    b"to_nothing/../../secret", b"../shared/a", b"./../shared", b"sub/up/../../secret", b"a/../../secret",
    b"sub//..//..//secret", b"out_up/", b"out_file/", b"slash/../../secret", b"chain/../../secret",
]  # fmt: skip


@pytest.mark.parametrize("path", WAYS_OUT)
def test_no_path_and_no_link_leads_out(hand, tree, path):
    guest = hand()
    answers = [
        guest.open(path),
        guest.open(path, how=DIRECTORY),
        guest.open(path, WRITE, CREATE),
        guest.open(path, WRITE, CREATE | EXCLUSIVE),
        guest.open(path, WRITE, TRUNCATE),
        guest.stat(path, lookup=FOLLOW),
        guest.set_times(path, 1, 1, 5, lookup=FOLLOW),
        guest.stat(path + b"/secret"),
        guest.on("path_create_directory", path + b"/new"),
        guest.on("path_unlink_file", path + b"/secret"),
        guest.on("path_remove_directory", path + b"/shared"),
        guest.rename(b"a", path + b"/moved"),
        guest.rename(path + b"/secret", b"taken"),
        guest.link(path + b"/secret", b"taken"),
        guest.link(b"a", path + b"/linked"),
        guest.symlink(b"a", path + b"/linked"),
        guest.readlink(path + b"/link"),
    ]
    assert set(answers) <= {*OUT, Errno.EXIST}
    assert sorted(each.name for each in tree.parent.iterdir()) == ["secret", "shared"]
    assert (tree.parent / "secret").read_bytes() == b"secret"
    assert (tree / "a").read_bytes() == b"0123456789"
    assert (tree.parent / "secret").stat().st_mtime > 1


@pytest.mark.parametrize("path", [b"to_file", b"chain", b"to_dir/up", b"sub/up", b"back/a", b"slash/up", b"dot/a"])
def test_links_inside_are_followed(hand, tree, path):
    guest = hand()
    assert guest.read(guest.open(path)) == b"0123456789"
    assert guest.stat(path, lookup=FOLLOW)[2::2][:2] == (4, 10)
    assert guest.write(guest.open(path, WRITE), b"X") is Errno.SUCCESS
    assert (tree / "a").read_bytes() == b"X123456789"


def test_link_itself_is_told_unless_followed(hand, tree):
    guest = hand()
    assert guest.stat(b"to_file")[2] == guest.stat(b"out_abs")[2] == 7
    assert guest.readlink(b"to_file") == b"a"
    assert guest.readlink(b"chain", room=4) == b"sub/"
    assert guest.readlink(b"a") is Errno.INVAL
    guest.probe.put(PLACE, b"to_file")
    for how in (0, DIRECTORY):
        answer = guest.probe.call("path_open", 3, 0, PLACE, 7, how, READ, 0, 0, ANSWER)
        assert answer == Errno.LOOP


@pytest.mark.parametrize("path", [b"to_self", b"sub/round", b"to_self/a"])
def test_links_that_lead_to_themselves_end(hand, tree, path):
    assert hand().open(path) is Errno.LOOP


def test_links_are_followed_only_so_often(hand, shared):
    for number in range(LINKS_MAX + 1):
        (shared / f"l{number}").symlink_to(f"l{number + 1}" if number < LINKS_MAX else "a")
    guest = hand()
    assert guest.read(guest.open(b"l1")) == b"0123456789"
    assert guest.open(b"l0") is Errno.LOOP


def test_way_out_is_told_in_the_log(hand, tree):
    guest = hand()
    guest.open(b"sub/out")
    assert b"the link 'out' leads out of /data: denied" in guest.log
    guest.symlink(b"../x", b"new")
    assert b"the link 'new' to '../x' leads out of /data: denied" in guest.log


def test_where_links_of_the_node_lead_is_not_told(hand, tree):
    assert hand().readlink(b"out_abs") is Errno.PERM


def test_file_is_made_where_a_link_leads(hand, tree):
    guest = hand()
    assert guest.open(b"to_nothing") is Errno.NOENT
    assert guest.open(b"to_nothing", WRITE, CREATE | EXCLUSIVE) is not Errno.SUCCESS
    (tree / "none").unlink(missing_ok=True)
    assert guest.write(guest.open(b"to_nothing", WRITE, CREATE), b"made") is Errno.SUCCESS
    assert (tree / "none").read_bytes() == b"made"


@pytest.mark.parametrize("target", [b"/etc", b"/", b"..", b"../x", b"sub/../../x", b"./..", b"x/../../a"])
def test_no_link_is_made_that_leads_out(hand, shared, target):
    guest = hand()
    assert guest.symlink(target, b"link") is Errno.PERM
    assert not (shared / "link").is_symlink()


def test_links_are_made_inside(hand, shared):
    guest = hand()
    below = guest.open(b"sub", how=DIRECTORY)
    assert guest.symlink(b"../a", b"sub/one") is guest.symlink(b"../a", b"two", fd=below) is Errno.SUCCESS
    assert guest.symlink(b"../../a", b"three", fd=below) is Errno.PERM
    assert guest.read(guest.open(b"sub/one")) == guest.read(guest.open(b"sub/two")) == b"0123456789"
    # What a directory gives access to is what lies below it.
    assert guest.open(b"two", fd=below) is Errno.PERM
    assert guest.symlink(b"a", b"a") is Errno.EXIST
    assert guest.symlink(b"a", b"new/") is Errno.NOENT
    assert guest.symlink(b"", b"new") is Errno.NOENT
    assert guest.symlink(b"a\0", b"new") is Errno.INVAL


def test_link_that_was_moved_to_lead_out_does_not(hand, shared):
    guest = hand()
    assert guest.symlink(b"../a", b"sub/link") is Errno.SUCCESS
    assert guest.rename(b"sub/link", b"link") is Errno.SUCCESS
    assert guest.open(b"link") is Errno.PERM


def test_file_gets_a_second_name(hand, shared):
    guest = hand()
    assert guest.link(b"a", b"sub/c") is Errno.SUCCESS
    assert (shared / "sub" / "c").stat().st_ino == (shared / "a").stat().st_ino
    assert guest.stat(b"a")[3] == 2
    assert guest.link(b"a", b"sub/c") is Errno.EXIST
    assert guest.link(b"sub", b"d") is Errno.PERM
    assert guest.link(b"a", b"d/") is Errno.NOENT
    assert guest.link(b"a/", b"d") is Errno.NOTDIR
    assert guest.link(b"none", b"d") is Errno.NOENT
    assert guest.link(b"a", b"d", lookup=FOLLOW) is Errno.INVAL


def test_second_name_of_a_link_is_the_link(hand, tree):
    guest = hand()
    assert guest.link(b"out_abs", b"again") is Errno.SUCCESS
    assert (tree / "again").readlink() == Path("/etc/passwd")
    assert guest.open(b"again") is Errno.PERM


def test_nothing_is_linked_where_only_reading_is_granted(hand, tree):
    guest = hand(granted="/data")
    assert guest.symlink(b"a", b"new") is Errno.PERM
    assert guest.link(b"a", b"new") is Errno.PERM
    assert guest.set_times(b"a", 1, 1, 5) is Errno.PERM
    assert guest.probe.call("fd_filestat_set_times", guest.open(b"a"), 1, 1, 5) == Errno.PERM
    assert guest.read(guest.open(b"to_file")) == b"0123456789"
    assert guest.readlink(b"to_file") == b"a"


def test_removing_and_moving_a_link_leaves_its_target(hand, tree):
    guest = hand()
    assert guest.on("path_unlink_file", b"to_dir/") is Errno.NOTDIR
    assert guest.on("path_remove_directory", b"to_dir/") is Errno.NOTDIR
    assert guest.rename(b"out_file", b"moved") is Errno.SUCCESS
    assert guest.on("path_unlink_file", b"moved") is Errno.SUCCESS
    assert (tree.parent / "secret").exists()
    assert guest.on("path_unlink_file", b"to_dir") is Errno.SUCCESS
    assert (tree / "sub" / "b").exists()


def test_deep_and_long_paths_end_with_an_answer(hand, shared):
    guest = hand()
    assert guest.open(b"sub/../" * 500 + b"a") not in OUT
    assert guest.open(b"x/" * 2000) is Errno.NOENT
    assert guest.open(b"/".join([b"y" * 255] * 16)) is Errno.NOENT
    (shared / "way").symlink_to("sub/../" * 500 + "way")
    assert guest.open(b"way") is Errno.LOOP
    guest.probe.put(BUFFER, b"")


def test_words_tell_whether_a_link_leads_out():
    assert not leads_out(b"../a", 1)
    assert not leads_out(b"./b//../a", 0)
    assert leads_out(b"../../a", 1)
    assert leads_out(b"b/../../a", 0)
    assert leads_out(b"/a", 9)
