"""Directories of the node under preview 1: what a guest can do with those it was granted, and with no others."""

import os
import socket
import struct
import threading
from pathlib import Path

import pytest
from tries import tries
from wasi_hand import ANSWER, BUFFER, CREATE, DIRECTORY, EXCLUSIVE, PLACE, READ, TRUNCATE, WRITE, Hand

from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.base import Bounds, Call
from piecework.worker_agent.runtimes.services.access import NodeRules, Permissions, SharedDir
from piecework.worker_agent.runtimes.streams import LogTail
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.fs.resolving import split


def count_open():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_granted_directory_is_found_by_a_libc(hand):
    probe = hand().probe
    assert probe.call("fd_prestat_get", 3, 0) == 0
    assert struct.unpack("<B3xI", probe.get(0, 8)) == (0, 5)
    assert probe.call("fd_prestat_dir_name", 3, 0, 5) == 0
    assert probe.get(0, 5) == b"/data"
    assert probe.call("fd_prestat_dir_name", 3, 0, 4) == Errno.NAMETOOLONG
    assert probe.call("fd_fdstat_get", 3, 0) == 0
    assert probe.get(0, 1) == b"\x03"


@pytest.mark.parametrize("sealed", [False, True])
def test_what_a_job_gets_from_others_can_be_read_and_nothing_else(make_probe, shared, sealed):
    access = Permissions.of(Grants(), NodeRules(), "owner", str(shared), sealed=sealed)
    guest = Hand(make_probe(access=access))
    assert guest.names() == [b"/inputs", b"/dev"]
    assert guest.read(guest.open(b"a")) == b"0123456789"
    assert guest.open(b"a", WRITE) == Errno.PERM
    assert guest.open(b"new", WRITE, CREATE) == Errno.PERM
    assert guest.on("path_unlink_file", b"a") == Errno.PERM
    assert guest.open(b"../secret") == Errno.PERM


def test_what_a_job_gets_from_others_hides_a_directory_of_the_node(make_probe, shared, tmp_path):
    (tmp_path / "node").mkdir()
    rules = NodeRules(dirs=(SharedDir(str(tmp_path / "node"), "/inputs", True),))
    granted = Grants(dirs=["/inputs:rw"])
    guest = Hand(make_probe(access=Permissions.of(granted, rules, "owner", str(shared))))
    assert guest.open(b"new", WRITE, CREATE) == Errno.PERM
    assert guest.names() == [b"/inputs", b"/dev"]


def test_files_are_read_written_and_found_again(hand, shared):
    guest = hand()
    fd = guest.open(b"new", WRITE, CREATE)
    assert guest.write(fd, b"hello world") is Errno.SUCCESS
    assert guest.seek(fd, 6, os.SEEK_SET) == 6
    assert guest.read(fd) == b"world"
    assert guest.read(fd, at=1, size=4) == b"ello"
    assert guest.write(fd, b"J", at=0) is Errno.SUCCESS
    assert guest.seek(fd, 0, os.SEEK_CUR) == 11
    assert guest.probe.call("fd_close", fd) == 0
    assert (shared / "new").read_bytes() == b"Jello world"
    assert guest.read(guest.open(b"sub/../new")) == b"Jello world"
    assert guest.read(guest.open(b"b", fd=guest.open(b"sub", how=DIRECTORY))) == b"below"


def test_flags_of_opening(hand, shared):
    guest = hand()
    assert guest.open(b"a", WRITE, CREATE | EXCLUSIVE) is Errno.EXIST
    assert guest.open(b"none") is Errno.NOENT
    assert guest.open(b"a", how=DIRECTORY) is Errno.NOTDIR
    assert guest.open(b"a/b") is Errno.NOTDIR
    end = guest.open(b"a", WRITE, flags=1)
    assert guest.write(end, b"X") is Errno.SUCCESS
    assert (shared / "a").read_bytes() == b"0123456789X"
    guest.open(b"a", WRITE, TRUNCATE)
    assert (shared / "a").read_bytes() == b""


def test_what_was_opened_to_read_cannot_be_written(hand):
    guest = hand()
    fd = guest.open(b"a")
    assert guest.write(fd, b"x") is Errno.BADF
    assert guest.write(fd, b"x", at=0) is Errno.BADF
    assert guest.probe.call("fd_filestat_set_size", fd, 0) == Errno.BADF


def test_sizes_and_kinds(hand, shared):
    guest = hand()
    assert guest.stat(b"a")[2::2][:2] == (4, 10)
    assert guest.stat(b"sub")[2] == 3
    assert guest.stat(b".")[2] == 3
    fd = guest.open(b"a", WRITE)
    assert guest.probe.call("fd_filestat_set_size", fd, 3) == 0
    assert guest.probe.call("fd_allocate", fd, 0, 5) == 0
    assert (shared / "a").read_bytes() == b"012\0\0"
    assert guest.probe.call("fd_filestat_get", fd, BUFFER) == 0
    assert struct.unpack_from("<Q", guest.probe.get(BUFFER, 64), 32) == (5,)


def test_directories_are_listed_made_and_removed(hand, shared):
    guest = hand()
    assert guest.list() == ([b".", b"..", b"a", b"sub"], False)
    found, cookie = [], 0
    while True:
        names, more = guest.list(size=60, cookie=cookie)
        found, cookie = found + names, cookie + len(names)
        if not more:
            break
    assert found == [b".", b"..", b"a", b"sub"]
    assert guest.on("path_create_directory", b"d") is Errno.SUCCESS
    assert guest.on("path_create_directory", b"d") is Errno.EXIST
    assert guest.rename(b"a", b"d/c") is Errno.SUCCESS
    assert guest.on("path_remove_directory", b"d") is Errno.NOTEMPTY
    assert guest.on("path_unlink_file", b"d/c") is Errno.SUCCESS
    assert guest.on("path_remove_directory", b"d") is Errno.SUCCESS
    assert guest.list()[0] == [b".", b"..", b"sub"]
    assert guest.on("path_remove_directory", b".") is not Errno.SUCCESS


@pytest.mark.parametrize(
    ("allowed", "granted", "writable"),
    [(True, "/data:rw", True), (True, "/data", False), (False, "/data:rw", False), (False, "/data:ro", False)],
)
def test_both_must_allow_writing(hand, shared, allowed, granted, writable):
    guest = hand(write=allowed, granted=granted)
    answers = [
        guest.open(b"a", WRITE),
        guest.open(b"x", READ, CREATE),
        guest.open(b"a", READ, TRUNCATE),
        guest.on("path_create_directory", b"y"),
        guest.rename(b"sub/b", b"z"),
        guest.on("path_unlink_file", b"x" if writable else b"a"),
        guest.on("path_remove_directory", b"y" if writable else b"sub"),
    ]
    assert (Errno.PERM not in answers) is writable
    assert all(answer is Errno.PERM for answer in answers) is not writable
    if not writable:
        assert (shared / "a").read_bytes() == b"0123456789"
        assert b"writing to /data denied" in guest.log
        assert b"worker-agent run --allow-dir DIR=/data:rw" in guest.log


@pytest.mark.parametrize(
    "path",
    [
        b"/etc/passwd", b"..", b"../secret", b"sub/../../secret", b"./.././secret",
        b"sub/../sub/../../secret", b"//etc/passwd", b"../shared/a",
    ],
)  # fmt: skip
def test_no_path_leads_out(hand, path):
    guest = hand()
    assert guest.open(path) is Errno.PERM
    assert guest.open(path, WRITE, CREATE) is Errno.PERM
    assert guest.stat(path) is Errno.PERM
    assert guest.rename(b"a", path) is Errno.PERM
    assert guest.rename(path, b"x") is Errno.PERM
    for name in ("path_create_directory", "path_remove_directory", "path_unlink_file"):
        assert guest.on(name, path) is Errno.PERM


def test_directory_below_leads_out_no_more_than_the_one_above(hand):
    guest = hand()
    below = guest.open(b"sub", how=DIRECTORY)
    assert guest.open(b"../a", fd=below) is Errno.PERM
    assert guest.open(b"..", fd=below, how=DIRECTORY) is Errno.PERM


@pytest.mark.parametrize(
    ("path", "answer"), [(b"a\0b", Errno.INVAL), (b"", Errno.NOENT), (b"a" * 300, Errno.NAMETOOLONG)]
)
def test_path_that_is_none_is_refused(hand, path, answer):
    assert hand().open(path) is answer


def test_path_of_absurd_length_is_refused_before_it_is_read(hand):
    probe = hand().probe
    assert probe.call("path_open", 3, 0, 0, -1, 0, READ, 0, 0, ANSWER) == Errno.NAMETOOLONG
    assert probe.call("path_open", 3, 0, 0, 5000, 0, READ, 0, 0, ANSWER) == Errno.NAMETOOLONG
    assert probe.call("path_open", 3, 0, -4, 4000, 0, READ, 0, 0, ANSWER) == Errno.FAULT


def test_pipes_sockets_and_devices_are_not_opened(hand, shared):
    os.mkfifo(shared / "pipe")
    guest = hand()
    assert guest.open(b"pipe") is Errno.ACCES
    assert guest.open(b"pipe", WRITE) is Errno.ACCES
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(shared / "socket"))
        assert isinstance(guest.open(b"socket"), Errno)


def test_folder_that_is_swapped_for_a_link_meanwhile_does_not_lead_out(hand, shared):
    """Another program exchanges a folder and a link as quickly as it can."""
    guest, stop = hand(), threading.Event()
    (shared / "real").mkdir()
    (shared / "real" / "secret").write_bytes(b"inside")
    (shared / "trap").symlink_to("..")

    def swap():
        while not stop.is_set():
            for name in ("real", "trap"):
                (shared / name).rename(shared / "way")
                (shared / "way").rename(shared / name)

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(tries(1500)):
            fd = guest.open(b"way/secret")
            if isinstance(fd, Errno):
                seen.add(fd)
            else:
                seen.add(guest.read(fd))
                guest.probe.call("fd_close", fd)
    finally:
        stop.set()
        thread.join()
    assert b"secret" not in seen
    assert seen <= {b"inside", Errno.NOENT, Errno.LOOP, Errno.NOTDIR, Errno.PERM}


def test_descriptors_run_out(hand):
    guest = hand(open_files=100)
    opened = [guest.open(b"a") for _ in range(100)]
    assert opened[-1] is Errno.MFILE
    assert guest.log.count(b"as many files open as it may (--max-open)\n") == 1
    assert guest.probe.call("fd_close", 10) == 0
    assert guest.open(b"a") == 10


def test_what_is_granted_takes_no_descriptor_from_the_guest(hand):
    guest = hand(open_files=4)
    assert guest.read(guest.open(b"a")) == b"0123456789"
    assert guest.open(b"a") is Errno.MFILE


@pytest.mark.parametrize(("offset", "name"), [(-1, "fd_pread"), (-(2**63), "fd_pwrite")])
def test_negative_offsets_are_refused(hand, offset, name):
    guest = hand()
    fd = guest.open(b"a", WRITE)
    guest.probe.put_vectors(PLACE, (BUFFER, 1))
    assert guest.probe.call(name, fd, PLACE, 1, offset, ANSWER) == Errno.INVAL
    assert guest.seek(fd, -1, os.SEEK_SET) is Errno.INVAL
    assert guest.seek(fd, 0, 9) is Errno.INVAL
    assert guest.probe.call("fd_filestat_set_size", fd, -1) == Errno.INVAL
    assert guest.probe.call("fd_allocate", fd, -1, 1) == Errno.INVAL
    assert guest.probe.call("fd_allocate", fd, 2**63 - 1, 2**63 - 1) == Errno.INVAL


def test_renumbering_closes_what_was_there(hand):
    guest = hand()
    one, two = guest.open(b"a"), guest.open(b"sub/b")
    assert guest.probe.call("fd_renumber", two, one) == 0
    assert guest.read(one) == b"below"
    assert guest.probe.call("fd_renumber", one, one) == 0
    assert guest.read(one) == b""
    assert guest.read(two) is Errno.BADF


def test_files_are_closed_when_the_guest_ends(hand):
    before = count_open()
    guest = hand()
    guest.open(b"a")
    guest.open(b"sub", how=DIRECTORY)
    assert count_open() == before + 4
    guest.probe.guest.close()
    assert count_open() == before


def test_nothing_moves_from_one_granted_directory_to_another(make_probe, tmp_path):
    dirs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        dirs.append(SharedDir(str(tmp_path / name), f"/{name}", write=True))
    (tmp_path / "one" / "a").touch()
    access = Permissions.of(Grants(dirs=["/one:rw", "/two:rw"]), NodeRules(dirs=tuple(dirs)), "owner")
    assert Hand(make_probe(access=access)).rename(b"a", b"a", to_fd=4) is Errno.XDEV


def test_private_folder_belongs_to_the_code_and_is_the_root(make_probe, tmp_path):
    rules = NodeRules(folder=str(tmp_path / "private"))

    def make(owner, files="write"):
        return Hand(make_probe(access=Permissions.of(Grants(files=files), rules, owner)))

    guest = make("one")
    assert guest.probe.call("fd_prestat_dir_name", 3, 0, 1) == 0
    assert guest.probe.get(0, 1) == b"/"
    assert guest.write(guest.open(b"kept", WRITE, CREATE), b"mine") is Errno.SUCCESS
    assert make("one", "read").read(3) is Errno.BADF
    again = make("one", "read")
    assert again.read(again.open(b"kept")) == b"mine"
    assert again.open(b"kept", WRITE) is Errno.PERM
    assert make("two").open(b"kept") is Errno.NOENT


@pytest.mark.parametrize(
    ("grants", "sealed", "words"),
    [
        (Grants(), False, b""),
        (Grants(dirs=["/data"]), True, b""),
        (Grants(dirs=["/other"]), False, b""),
    ],
)
def test_without_a_grant_there_is_no_directory(make_probe, shared, grants, sealed, words):
    node = NodeRules(dirs=(SharedDir(str(shared), "/data"),), folder=str(shared))
    probe = make_probe(access=Permissions.of(grants, node, "owner", sealed=sealed))
    assert Hand(probe).names() == [b"/dev"]
    assert Hand(probe).open(b"a", fd=0) is Errno.NOTDIR
    assert probe.log.read()[1] == words


def test_directory_that_is_gone_is_told_in_the_log(make_probe, tmp_path):
    access = Permissions.of(
        Grants(dirs=["/data"]), NodeRules(dirs=(SharedDir(str(tmp_path / "gone"), "/data"),)), "o"
    )
    probe = make_probe(access=access)
    assert Hand(probe).names() == [b"/dev"]
    assert b"directory /data denied: this node cannot open it: No such file" in probe.log.read()[1]


def test_no_name_is_lost_in_splitting():
    assert split(b"a//b/./c/../d/") == [b"a", b"b", b"c", b"..", b"d"]
    assert split(b".") == [b"."]
    assert split(b"a/.") == [b"a", b"."]
    for path in (b"", b"/a", b"a\0"):
        with pytest.raises(WasiError):
            split(path)


def test_granted_directories_take_no_number_that_is_taken(make_probe, shared):
    access = Permissions.of(Grants(dirs=["/data"]), NodeRules(dirs=(SharedDir(str(shared), "/data"),)), "owner")
    guest = make_probe(access=access).guest
    first = guest.files[3]
    guest.open_directories(Call(None, None, LogTail(100), None, Bounds(), access=access))
    assert guest.files[3] is first
    assert guest.files[6].granted_as == b"/data"
    guest.close()
