"""Files of granted directories: rights, times, slashes, how much they may take; and what every guest finds."""

import os
import struct
from types import SimpleNamespace

import pytest
from wasi_hand import ANSWER, BUFFER, CREATE, DIRECTORY, READ, TRUNCATE, WRITE, Hand

from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.services.access import NodeRules, Permissions, SharedDir
from piecework.worker_agent.runtimes.wasi.errno import Errno
from piecework.worker_agent.runtimes.wasi.fs.files import Rights, read_stat

WRITE_ONLY = int(Rights.FD_WRITE)
U64 = 2**64 - 1


@pytest.mark.parametrize(("seconds", "told"), [(-86_400, 0), (1.5, 1_500_000_000)])
def test_dates_before_1970_are_its_beginning(hand, shared, seconds, told):
    os.utime(shared / "a", (seconds, seconds))
    guest = hand()
    assert guest.stat(b"a")[6] == told
    assert guest.probe.call("fd_filestat_get", guest.open(b"a"), BUFFER) == 0
    assert guest.probe.get_u64(BUFFER + 48) == told


def test_dates_after_2554_are_the_last():
    far = 2**64 * 9
    times = {"st_atime_ns": far, "st_mtime_ns": far, "st_ctime_ns": -1}
    assert read_stat(SimpleNamespace(st_ino=1, st_mode=0o100644, st_nlink=1, st_size=5, **times))[4:] == (
        U64,
        U64,
        0,
    )


def test_times_are_set_on_paths_links_and_descriptors(hand, shared):
    (shared / "link").symlink_to("a")
    guest = hand()
    assert guest.set_times(b"link", 0, 7_000, 4, lookup=1) is Errno.SUCCESS
    assert guest.set_times(b"link", 5_000, 6_000, 5) is Errno.SUCCESS
    assert (shared / "a").stat().st_mtime_ns == 7_000
    assert (shared / "link").lstat().st_atime_ns == 5_000
    before = (shared / "a").stat().st_atime_ns
    fd = guest.open(b"a")
    assert guest.probe.call("fd_filestat_set_times", fd, 0, 9_000, 4) == 0
    assert ((shared / "a").stat().st_mtime_ns, (shared / "a").stat().st_atime_ns) == (9_000, before)
    assert guest.probe.call("fd_filestat_set_times", fd, 0, 0, 2 | 8) == 0
    assert (shared / "a").stat().st_mtime > 10**9
    assert guest.probe.call("fd_filestat_set_times", guest.open(b"sub"), 1, 1, 5) == 0


@pytest.mark.parametrize(("time", "flags"), [(1, 3), (1, 12), (1, 16), (-1, 1), (2**63 - 1 + 1, 4)])
def test_times_that_make_no_sense_are_invalid(hand, time, flags):
    guest = hand()
    signed = time - 2**64 if time > 2**63 - 1 else time
    assert guest.set_times(b"a", signed, signed, flags) is Errno.INVAL


def test_what_was_opened_to_write_cannot_be_read(hand, shared):
    guest = hand()
    fd = guest.open(b"a", WRITE_ONLY)
    assert guest.read(fd) is guest.read(fd, at=0) is Errno.BADF
    assert guest.write(fd, b"X") is Errno.SUCCESS
    assert (shared / "a").read_bytes() == b"X123456789"
    cut = guest.open(b"a", READ, TRUNCATE)
    assert guest.write(cut, b"x") is Errno.BADF
    assert (shared / "a").read_bytes() == b""


def test_writing_nothing_needs_the_right_too(hand, shared):
    guest = hand()
    fd = guest.open(b"a")
    assert guest.write(fd, b"") is Errno.BADF
    fd = guest.open(b"a", WRITE)
    guest.seek(fd, 100, os.SEEK_SET)
    assert guest.write(fd, b"") is Errno.SUCCESS
    assert (shared / "a").stat().st_size == 10


def test_slash_at_the_end_means_a_directory(hand, shared):
    guest = hand()
    assert guest.open(b"a/") is guest.stat(b"a/") is Errno.NOTDIR
    assert guest.on("path_unlink_file", b"a/") is guest.on("path_remove_directory", b"a/") is Errno.NOTDIR
    assert guest.on("path_unlink_file", b"sub/") is Errno.ISDIR
    assert guest.rename(b"a/", b"c") is guest.rename(b"a", b"c/") is Errno.NOTDIR
    assert guest.open(b"new/", WRITE, CREATE) is Errno.ISDIR
    assert isinstance(guest.open(b"sub//"), int)
    assert guest.on("path_create_directory", b"d/") is Errno.SUCCESS
    assert guest.rename(b"d/", b"e/") is Errno.SUCCESS
    assert guest.on("path_remove_directory", b"e/") is Errno.SUCCESS
    assert sorted(each.name for each in shared.iterdir()) == ["a", "sub"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fd_read", (4096, 1, ANSWER)),
        ("fd_write", (4096, 1, ANSWER)),
        ("fd_pread", (4096, 1, 0, ANSWER)),
        ("fd_pwrite", (4096, 1, 0, ANSWER)),
        ("fd_seek", (0, 1, ANSWER)),
        ("fd_tell", (ANSWER,)),
        ("fd_allocate", (0, 1)),
        ("fd_advise", (0, 1, 0)),
        ("fd_filestat_set_size", (0,)),
        ("fd_fdstat_set_flags", (0,)),
        ("fd_sync", ()),
        ("fd_datasync", ()),
    ],
)
def test_directory_is_no_file(hand, name, arguments):
    guest = hand()
    assert guest.probe.call(name, 3, *arguments) == Errno.BADF
    assert guest.probe.call(name, guest.open(b"sub"), *arguments) == Errno.BADF


def test_directory_is_not_opened_to_write(hand):
    guest = hand()
    assert guest.open(b"sub", WRITE) is Errno.ISDIR
    assert guest.open(b"sub", READ, CREATE | DIRECTORY) is Errno.INVAL


def test_rights_tell_what_can_be_done(hand):
    guest = hand()

    def rights(fd):
        assert guest.probe.call("fd_fdstat_get", fd, BUFFER) == 0
        [found] = struct.unpack_from("<Q", guest.probe.get(BUFFER, 24), 8)
        return found

    assert not rights(3) & (Rights.FD_WRITE | Rights.FD_SEEK | Rights.FILESTAT_SET_SIZE)
    assert rights(3) & Rights.FD_READDIR
    assert not rights(guest.open(b"sub")) & Rights.FD_SEEK
    assert rights(guest.open(b"a")) & (Rights.FD_READ | Rights.FD_WRITE) == Rights.FD_READ
    assert rights(guest.open(b"a", WRITE_ONLY)) & (Rights.FD_READ | Rights.FD_WRITE) == Rights.FD_WRITE


def test_flags_of_a_file_change_as_far_as_they_can(hand, shared):
    guest = hand()
    fd = guest.open(b"a", WRITE, flags=1 | 16)
    assert guest.probe.call("fd_fdstat_set_flags", fd, 16) == Errno.INVAL
    assert guest.probe.call("fd_fdstat_set_flags", fd, 0) == 0
    assert guest.write(fd, b"X") is Errno.SUCCESS
    assert (shared / "a").read_bytes() == b"X123456789"
    assert guest.probe.call("fd_sync", fd) == guest.probe.call("fd_datasync", fd) == 0


# How much files may take


def test_what_is_written_over_is_not_counted_again(hand, shared):
    guest = hand(files_bytes=1000)
    fd = guest.open(b"db", WRITE, CREATE)
    for _ in range(50):
        assert guest.write(fd, b"x" * 900, at=0) is Errno.SUCCESS
    assert guest.write(fd, b"x" * 101, at=900) is Errno.DQUOT
    assert guest.write(fd, b"x" * 100, at=900) is Errno.SUCCESS
    assert b"/data is full: at most 1000 bytes in 1000 files (--max-files-size, --max-files)" in guest.log


@pytest.mark.parametrize("way", ["cut", "unlink", "truncate", "replace"])
def test_room_of_what_is_gone_is_free_again(hand, way):
    guest = hand(files_bytes=1000, files_count=2)
    for _ in range(5):
        fd = guest.open(b"big", WRITE, CREATE)
        assert guest.write(fd, b"x" * 900, at=0) is Errno.SUCCESS
        if way == "cut":
            assert guest.probe.call("fd_filestat_set_size", fd, 0) == 0
        guest.close(fd)
        if way == "unlink":
            assert guest.on("path_unlink_file", b"big") is Errno.SUCCESS
        if way == "truncate":
            guest.close(guest.open(b"big", WRITE, TRUNCATE))
        if way == "replace":
            guest.close(guest.open(b"small", WRITE, CREATE))
            assert guest.rename(b"small", b"big") is Errno.SUCCESS


def test_removed_file_counts_as_long_as_it_is_open(hand):
    guest = hand(files_bytes=1000)
    held = guest.open(b"held", WRITE, CREATE)
    assert guest.write(held, b"x" * 900) is Errno.SUCCESS
    assert guest.on("path_unlink_file", b"held") is Errno.SUCCESS
    other = guest.open(b"other", WRITE, CREATE)
    assert guest.write(other, b"x" * 900) is Errno.DQUOT
    guest.close(held)
    assert guest.write(other, b"x" * 900) is Errno.SUCCESS


def test_file_with_two_names_counts_until_both_are_gone(hand):
    guest = hand(files_bytes=1000)
    fd = guest.open(b"one", WRITE, CREATE)
    assert guest.write(fd, b"x" * 900) is Errno.SUCCESS
    guest.close(fd)
    assert guest.link(b"one", b"two") is Errno.SUCCESS
    other = guest.open(b"other", WRITE, CREATE)
    assert guest.on("path_unlink_file", b"one") is Errno.SUCCESS
    assert guest.write(other, b"x" * 900) is Errno.DQUOT
    assert guest.on("path_unlink_file", b"two") is Errno.SUCCESS
    assert guest.write(other, b"x" * 900) is Errno.SUCCESS


def test_room_that_others_took_is_not_the_guests(hand, shared):
    (shared / "old").write_bytes(b"x" * 5000)
    guest = hand(files_bytes=1000)
    assert guest.on("path_unlink_file", b"old") is Errno.SUCCESS
    fd = guest.open(b"new", WRITE, CREATE)
    assert guest.write(fd, b"x" * 1001) is Errno.DQUOT
    assert guest.write(fd, b"x" * 1000) is Errno.SUCCESS


def test_gaps_and_sizes_count_as_if_written(hand, shared):
    guest = hand(files_bytes=1000)
    fd = guest.open(b"one", WRITE, CREATE)
    assert guest.write(fd, b"x" * 600) is Errno.SUCCESS
    assert guest.probe.call("fd_filestat_set_size", fd, 2**40) == Errno.DQUOT
    assert guest.probe.call("fd_allocate", fd, 2**40, 1) == Errno.DQUOT
    assert guest.seek(fd, 2**40, os.SEEK_SET) == 2**40
    assert guest.write(fd, b"x") is Errno.DQUOT
    assert guest.write(fd, b"x", at=2**50) is Errno.DQUOT
    assert (shared / "one").stat().st_size == 600


def test_files_directories_and_links_are_counted(hand):
    guest = hand(files_count=3)
    assert isinstance(guest.open(b"one", WRITE, CREATE), int)
    assert guest.on("path_create_directory", b"two") is Errno.SUCCESS
    assert guest.on("path_create_directory", b"two") is Errno.EXIST
    assert guest.symlink(b"a", b"three") is Errno.SUCCESS
    assert guest.open(b"four", WRITE, CREATE) is Errno.DQUOT
    assert guest.link(b"a", b"four") is guest.on("path_create_directory", b"four") is Errno.DQUOT
    assert guest.on("path_remove_directory", b"two") is Errno.SUCCESS
    assert guest.link(b"a", b"four") is Errno.SUCCESS


def test_full_private_folder_stays_full_for_the_next_call(make_probe, tmp_path):
    access = Permissions.of(Grants(files="write"), NodeRules(folder=str(tmp_path / "private")), "owner")
    for answer in (Errno.SUCCESS, Errno.DQUOT):
        guest = Hand(make_probe(access=access, files_bytes=10))
        assert guest.write(guest.open(answer.name.encode(), WRITE, CREATE), b"12345678") is answer
    assert guest.on("path_unlink_file", b"SUCCESS") is Errno.SUCCESS
    assert guest.write(guest.open(b"DQUOT", WRITE), b"12345678") is Errno.SUCCESS


# What every guest finds


def test_directory_granted_alone_is_the_working_directory(hand, make_probe, tmp_path):
    assert hand().names() == [b"/data", b".", b"/dev"]
    assert hand(granted="/:rw").names() == [b"/", b"/dev"]
    dirs = tuple(SharedDir(str(tmp_path), f"/{name}") for name in ("one", "two"))
    access = Permissions.of(Grants(dirs=["/one", "/two"]), NodeRules(dirs=dirs), "owner")
    assert Hand(make_probe(access=access)).names() == [b"/one", b"/two", b"/dev"]


def test_root_that_is_granted_keeps_its_own_directories(hand, shared):
    (shared / "tmp").mkdir()
    assert hand(granted="/:rw", temporary=True).names() == [b"/", b"/dev"]
    (shared / "dev").mkdir()
    assert hand(granted="/:rw", temporary=True).names() == [b"/"]


def test_temporary_files_are_bounded_and_gone_at_the_end(make_probe, tmp_path):
    guest = Hand(make_probe(temporary=True, files_bytes=100))
    assert guest.names() == [b"/tmp", b"/dev"]
    assert guest.list()[0] == [b".", b".."]
    fd = guest.open(b"work", WRITE, CREATE)
    assert guest.write(fd, b"x" * 100) is Errno.SUCCESS
    assert guest.write(fd, b"x") is Errno.DQUOT
    assert guest.open(b"../secret") is Errno.PERM
    assert len(list(tmp_path.iterdir())) == 1
    guest.probe.guest.close()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_made_for_who_uses_no_temporary_files(make_probe, tmp_path):
    make_probe(temporary=True).guest.close()
    assert list(tmp_path.iterdir()) == []


def test_devices_are_what_programs_expect(make_probe):
    guest = Hand(make_probe(b"input", temporary=True))
    null, zero = guest.open(b"null", WRITE, CREATE, fd=4), guest.open(b"zero", fd=4)
    assert guest.read(null) == b""
    assert guest.write(null, b"gone") is Errno.SUCCESS
    assert guest.read(zero, 5) == b"\0" * 5
    assert len(set(guest.read(guest.open(b"urandom", fd=4)))) > 20
    assert guest.read(guest.open(b"stdin", fd=4)) == b"input"
    assert guest.write(guest.open(b"stdout", WRITE, fd=4), b"out") is Errno.SUCCESS
    assert guest.write(guest.open(b"./stderr", WRITE, fd=4), b"log") is Errno.SUCCESS
    assert (guest.probe.output.finish(), guest.log) == (b"out", b"log")
    assert guest.stat(b"null", fd=4)[2] == 2
    assert guest.list(4)[0] == [b"null", b"random", b"stderr", b"stdin", b"stdout", b"urandom", b"zero"]
    assert guest.list(guest.open(b".", how=DIRECTORY, fd=4))[0] == guest.list(4)[0]
    assert guest.open(b"sda", fd=4) is Errno.NOENT
    assert guest.open(b"null/", fd=4) is Errno.NOTDIR
    assert guest.on("path_unlink_file", b"null", fd=4) is Errno.ROFS
    assert guest.rename(b"null", b"x", fd=4) is Errno.ROFS
