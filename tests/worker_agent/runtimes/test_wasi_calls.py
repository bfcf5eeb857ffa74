"""Each call of WASI preview 1, made directly: what it answers and what it writes into the guest's memory."""

import io
import struct
import time

import pytest
import wasmtime

from piecework.worker_agent.runtimes.base import Build
from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason
from piecework.worker_agent.runtimes.streams import OutputFullError
from piecework.worker_agent.runtimes.wasi.errno import Errno
from piecework.worker_agent.runtimes.wasi.fs.files import Rights
from piecework.worker_agent.runtimes.wasi.fs.script_folder import ScriptFolder
from piecework.worker_agent.runtimes.wasi.guest import GuestExitError
from piecework.worker_agent.runtimes.wasi.host import CALLS
from piecework.worker_agent.runtimes.wasi.memory import CHUNK_BYTES, MAX_VECTORS

MEMORY_BYTES = 64 * 65_536
OUTSIDE = MEMORY_BYTES - 2


def test_all_functions_have_the_types_of_another_host(toolchain, probe_module):
    linker = wasmtime.Linker(toolchain.engine(Build()))
    linker.define_wasi()
    linker.instantiate_pre(probe_module).close()
    assert len(CALLS) == 46


# Arguments, environment, the end


def test_arguments_come_after_the_program_name(make_probe):
    probe = make_probe(args=("one", "zwö"))
    assert probe.call("args_sizes_get", 0, 4) == Errno.SUCCESS
    assert (probe.get_u32(0), probe.get_u32(4)) == (3, len("lambda\0one\0") + 5)
    assert probe.call("args_get", 0, 100) == Errno.SUCCESS
    places = struct.unpack("<III", probe.get(0, 12))
    assert [probe.get(place, 4) for place in places] == [b"lamb", b"one\0", "zwö".encode()]


def test_environment_is_only_what_was_given(make_probe, monkeypatch):
    monkeypatch.setenv("SECRET", "of the agent")
    probe = make_probe(env={"A": "1", "B": ""})
    assert probe.call("environ_sizes_get", 0, 4) == Errno.SUCCESS
    assert (probe.get_u32(0), probe.get_u32(4)) == (2, 7)
    assert probe.call("environ_get", 0, 100) == Errno.SUCCESS
    assert probe.get(100, 7) == b"A=1\0B=\0"


def test_exit_code_is_unsigned(probe):
    with pytest.raises(GuestExitError) as caught:
        probe.call("proc_exit", -1)
    assert caught.value.code == 0xFFFF_FFFF


def test_signals_are_not_there(probe):
    assert probe.call("proc_raise", 6) == Errno.NOSYS


# Clocks and random numbers


def test_real_time_is_the_time(probe):
    before = time.time_ns()
    assert probe.call("clock_time_get", 0, 1, 0) == Errno.SUCCESS
    assert before <= probe.get_u64(0) <= time.time_ns()


@pytest.mark.parametrize("clock", [1, 2, 3])
def test_other_clocks_begin_with_the_guest_and_rise(probe, clock):
    assert probe.call("clock_time_get", clock, 1, 0) == Errno.SUCCESS
    assert probe.call("clock_time_get", clock, 1, 8) == Errno.SUCCESS
    assert 0 <= probe.get_u64(0) < probe.get_u64(8) < 60 * 10**9


def test_resolution_is_told(probe):
    assert probe.call("clock_res_get", 1, 0) == Errno.SUCCESS
    assert probe.get_u64(0) == 1


@pytest.mark.parametrize("name", ["clock_res_get", "clock_time_get"])
def test_unknown_clock_is_invalid(probe, name):
    arguments = (9, 0) if name == "clock_res_get" else (9, 1, 0)
    assert probe.call(name, *arguments) == Errno.INVAL


def test_random_fills_exactly_the_buffer(probe):
    size = CHUNK_BYTES + 1000
    assert probe.call("random_get", 16, size) == Errno.SUCCESS
    filled = probe.get(0, size + 32)
    assert filled[:16] == filled[-16:] == b"\0" * 16
    assert len(set(filled[16:-16])) == 256


def test_yield_lets_a_stop_through(probe):
    assert probe.call("sched_yield") == Errno.SUCCESS
    probe.stop.stop(StopReason.CANCELLED)
    with pytest.raises(StoppedError):
        probe.call("sched_yield")


# Memory


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("args_get", (OUTSIDE, 0)),
        ("args_get", (0, -1)),
        ("args_sizes_get", (0, OUTSIDE)),
        ("clock_res_get", (0, OUTSIDE)),
        ("clock_time_get", (0, 1, OUTSIDE)),
        ("clock_time_get", (0, 1, -1)),
        ("random_get", (OUTSIDE, 3)),
        ("random_get", (0, -1)),
        ("fd_read", (0, OUTSIDE, 1, 0)),
        ("fd_write", (1, OUTSIDE, 1, 0)),
        ("fd_write", (1, -8, 2, 0)),
        ("fd_fdstat_get", (0, OUTSIDE)),
        ("fd_filestat_get", (0, OUTSIDE)),
        ("poll_oneoff", (OUTSIDE, 0, 1, 0)),
    ],
)
def test_pointer_outside_of_memory_is_a_fault(probe, name, arguments):
    assert probe.call(name, *arguments) == Errno.FAULT


@pytest.mark.parametrize("name", ["fd_read", "fd_write"])
def test_buffer_outside_of_memory_is_a_fault(probe, name):
    probe.put_vectors(0, (OUTSIDE, 3))
    assert probe.call(name, 0 if name == "fd_read" else 1, 0, 1, 100) == Errno.FAULT


def test_last_byte_of_memory_can_be_used(probe):
    assert probe.call("random_get", MEMORY_BYTES - 1, 1) == Errno.SUCCESS
    assert probe.call("random_get", MEMORY_BYTES, 0) == Errno.SUCCESS


# Streams


def test_read_fills_the_buffers_in_order(probe):
    probe.put_vectors(0, (100, 3), (200, 0), (300, 4))
    assert probe.call("fd_read", 0, 0, 3, 64) == Errno.SUCCESS
    assert (probe.get(100, 4), probe.get(300, 5), probe.get_u32(64)) == (b"012\0", b"3456\0", 7)


def test_read_at_the_end_gives_what_is_left_and_then_nothing(probe):
    probe.put_vectors(0, (100, 8), (200, 8))
    assert probe.call("fd_read", 0, 0, 2, 64) == Errno.SUCCESS
    assert (probe.get(100, 8), probe.get(200, 2), probe.get_u32(64)) == (b"01234567", b"89", 10)
    assert probe.call("fd_read", 0, 0, 2, 64) == Errno.SUCCESS
    assert probe.get_u32(64) == 0


def test_large_buffers_are_moved_whole(make_probe):
    data = bytes(range(256)) * (3 * CHUNK_BYTES // 512)
    probe = make_probe(data)
    probe.put_vectors(0, (1000, len(data) + 5))
    assert probe.call("fd_read", 0, 0, 1, 64) == Errno.SUCCESS
    assert probe.get_u32(64) == len(data)
    probe.put_vectors(0, (1000, len(data)))
    assert probe.call("fd_write", 1, 0, 1, 64) == Errno.SUCCESS
    assert probe.output.finish().read_bytes() == data


def test_broken_input_is_an_io_error(make_probe):
    class Broken(io.BytesIO):
        def readinto(self, _buffer):
            raise OSError(5, "broken")

    probe = make_probe()
    probe.guest.files[0]._stream = Broken()
    probe.put_vectors(0, (100, 8))
    assert probe.call("fd_read", 0, 0, 1, 64) == Errno.IO


def test_write_gathers_the_buffers(probe):
    probe.put(100, b"abcdef")
    probe.put_vectors(0, (100, 2), (104, 2))
    assert probe.call("fd_write", 1, 0, 2, 64) == Errno.SUCCESS
    assert (probe.output.finish(), probe.get_u32(64)) == (b"abef", 4)


def test_standard_error_is_the_log(probe):
    probe.put(100, b"hm")
    probe.put_vectors(0, (100, 2))
    assert probe.call("fd_write", 2, 0, 1, 64) == Errno.SUCCESS
    assert (probe.log.read(), probe.output.finish()) == ((0, b"hm"), b"")


def test_too_much_output_ends_the_guest(make_probe):
    probe = make_probe(output_bytes=10)
    probe.put_vectors(0, (100, 10))
    assert probe.call("fd_write", 1, 0, 1, 64) == Errno.SUCCESS
    probe.put_vectors(0, (100, 1))
    with pytest.raises(OutputFullError):
        probe.call("fd_write", 1, 0, 1, 64)


def test_one_transfer_moves_only_so_much(probe, monkeypatch):
    monkeypatch.setattr("piecework.worker_agent.runtimes.wasi.calls.file_calls.MAX_TRANSFER_BYTES", 5)
    probe.put_vectors(0, (100, 2), (100, 2), (100, 2))
    assert probe.call("fd_write", 1, 0, 3, 64) == Errno.SUCCESS
    assert (probe.get_u32(64), probe.output.size) == (4, 4)
    assert probe.call("fd_read", 0, 0, 3, 64) == Errno.SUCCESS
    assert probe.get_u32(64) == 4


def test_any_number_of_buffers_is_taken(probe):
    probe.put_vectors(8192, *[(100, 1)] * 3000)
    assert probe.call("fd_write", 1, 8192, 3000, 64) == Errno.SUCCESS
    assert (probe.get_u32(64), probe.output.size) == (3000, 3000)


@pytest.mark.slow
def test_of_very_many_buffers_the_first_are_used(probe):
    probe.put_vectors(8192, *[(100, 1)] * (MAX_VECTORS + 5))
    assert probe.call("fd_write", 1, 8192, MAX_VECTORS + 5, 64) == Errno.SUCCESS
    assert probe.get_u32(64) == MAX_VECTORS
    assert probe.call("fd_write", 1, 0, -1, 64) == Errno.SUCCESS


@pytest.mark.parametrize(("name", "fd"), [("fd_read", 1), ("fd_read", 2), ("fd_write", 0), ("fd_write", 3)])
def test_streams_go_one_way(probe, name, fd):
    probe.put_vectors(0, (100, 1))
    assert probe.call(name, fd, 0, 1, 64) == Errno.BADF


def test_closed_descriptor_is_gone(probe):
    assert probe.call("fd_close", 1) == Errno.SUCCESS
    assert probe.call("fd_close", 1) == Errno.BADF
    assert probe.call("fd_fdstat_get", 1, 0) == Errno.BADF


def test_renumbered_descriptor_moves(probe):
    assert probe.call("fd_renumber", 2, 1) == Errno.SUCCESS
    probe.put(100, b"hm")
    probe.put_vectors(0, (100, 2))
    assert probe.call("fd_write", 1, 0, 1, 64) == Errno.SUCCESS
    assert probe.log.read() == (0, b"hm")
    assert probe.call("fd_write", 2, 0, 1, 64) == Errno.BADF
    assert probe.call("fd_renumber", 1, 7) == Errno.BADF


def test_descriptor_tells_its_flags_and_rights(probe):
    assert probe.call("fd_fdstat_set_flags", 1, 1) == Errno.SUCCESS
    assert probe.call("fd_fdstat_get", 1, 0) == Errno.SUCCESS
    kind, flags, rights, inherited = struct.unpack("<BxHxxxxQQ", probe.get(0, 24))
    assert (kind, flags, inherited) == (0, 1, 0)
    assert rights & 1 << 6
    assert not rights & (1 << 1 | 1 << 2 | 1 << 5)


def test_file_status_is_that_of_a_stream(probe):
    probe.put(0, b"\xff" * 64)
    assert probe.call("fd_filestat_get", 2, 0) == Errno.SUCCESS
    assert struct.unpack("<QQQQQQQQ", probe.get(0, 64)) == (0, 2, 0, 1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("fd_seek", (0, 1, 0, 64), Errno.SPIPE),
        ("fd_tell", (1, 64), Errno.SPIPE),
        ("fd_pread", (0, 0, 1, 0, 64), Errno.SPIPE),
        ("fd_pwrite", (1, 0, 1, 0, 64), Errno.SPIPE),
        ("fd_advise", (0, 0, 0, 0), Errno.SPIPE),
        ("fd_allocate", (1, 0, 10), Errno.SPIPE),
        ("fd_sync", (1,), Errno.SUCCESS),
        ("fd_datasync", (2,), Errno.SUCCESS),
        ("fd_filestat_set_size", (1, 10), Errno.INVAL),
        ("fd_filestat_set_times", (1, 0, 0, 0), Errno.NOTSUP),
        ("fd_fdstat_set_rights", (1, 0, 0), Errno.NOTSUP),
        ("fd_readdir", (0, 0, 10, 0, 64), Errno.NOTDIR),
        ("path_open", (0, 0, 0, 1, 0, 0, 0, 0, 64), Errno.NOTDIR),
        ("path_filestat_get", (0, 0, 0, 1, 64), Errno.NOTDIR),
        ("path_symlink", (0, 1, 2, 0, 1), Errno.NOTDIR),
        ("sock_recv", (0, 0, 1, 0, 64, 68), Errno.NOTSOCK),
        ("sock_accept", (1, 0, 64), Errno.NOTSOCK),
    ],
)
def test_what_streams_cannot_do_is_refused(probe, name, arguments, answer):
    assert probe.call(name, *arguments) == answer


@pytest.mark.parametrize("name", sorted(name for name in CALLS if name.startswith(("fd_", "path_", "sock_"))))
def test_no_other_descriptor_is_open(probe, name):
    parameters, _ = CALLS[name]
    arguments = [3] + [0] * (len(parameters) - 1)
    if name == "path_symlink":
        arguments = [0, 0, 3, 0, 0]
    assert probe.call(name, *arguments) == Errno.BADF


# The folder of an interpreter


@pytest.fixture
def folder_probe(probe):
    probe.guest.files[3] = ScriptFolder({b"script.lua": b"0123456789"}, lambda size: b"r" * size)
    return probe


def open_file(probe, path, how=0, rights=Rights.FD_READ):
    probe.put(1000, path)
    errno = probe.call("path_open", 3, 0, 1000, len(path), how, rights, 0, 0, 64)
    return errno, probe.get_u32(64)


def test_folder_tells_its_name_and_ends_the_list(folder_probe):
    assert folder_probe.call("fd_prestat_get", 3, 64) == Errno.SUCCESS
    assert (folder_probe.get(64, 1), folder_probe.get_u32(68)) == (b"\0", 1)
    folder_probe.put(64, b"__")
    assert folder_probe.call("fd_prestat_dir_name", 3, 64, 1) == Errno.SUCCESS
    assert folder_probe.get(64, 2) == b"/_"
    assert folder_probe.call("fd_prestat_get", 4, 64) == folder_probe.call("fd_prestat_get", 0, 64) == Errno.BADF


@pytest.mark.parametrize("path", [b"dev/random", b"/dev/urandom"])
def test_random_numbers_are_read_from_a_device_too(folder_probe, path):
    assert open_file(folder_probe, path) == (Errno.SUCCESS, 4)
    folder_probe.put_vectors(0, (200, 4))
    assert folder_probe.call("fd_read", 4, 0, 1, 64) == Errno.SUCCESS
    assert (folder_probe.get_u32(64), folder_probe.get(200, 5)) == (4, b"rrrr\0")
    assert folder_probe.call("path_filestat_get", 3, 0, 1000, len(path), 400) == Errno.SUCCESS


@pytest.mark.parametrize("path", [b"script.lua", b"./script.lua", b"/script.lua"])
def test_file_is_opened_read_and_closed(folder_probe, path):
    assert open_file(folder_probe, path) == (Errno.SUCCESS, 4)
    folder_probe.put_vectors(0, (200, 4), (300, 100))
    assert folder_probe.call("fd_read", 4, 0, 2, 64) == Errno.SUCCESS
    assert (folder_probe.get_u32(64), folder_probe.get(200, 4), folder_probe.get(300, 6)) == (
        10,
        b"0123",
        b"456789",
    )
    assert folder_probe.call("fd_close", 4) == Errno.SUCCESS
    assert folder_probe.call("fd_read", 4, 0, 2, 64) == Errno.BADF


def test_position_of_a_file_moves(folder_probe):
    open_file(folder_probe, b"script.lua")
    for offset, whence, position in ((3, 0, 3), (-1, 1, 2), (-4, 2, 6), (100, 0, 100)):
        assert folder_probe.call("fd_seek", 4, offset, whence, 64) == Errno.SUCCESS
        assert folder_probe.call("fd_tell", 4, 80) == Errno.SUCCESS
        assert folder_probe.get_u64(64) == folder_probe.get_u64(80) == position
    for offset, whence in ((-1, 0), (0, 3), (2**63 - 1, 1)):
        assert folder_probe.call("fd_seek", 4, offset, whence, 64) == Errno.INVAL


def test_file_and_folder_tell_what_they_are(folder_probe):
    open_file(folder_probe, b"script.lua")
    for fd, kind, size in ((3, 3, 0), (4, 4, 10)):
        assert folder_probe.call("fd_filestat_get", fd, 200) == Errno.SUCCESS
        assert (folder_probe.get(216, 1)[0], folder_probe.get_u64(232)) == (kind, size)
    folder_probe.put(1000, b"script.lua")
    assert folder_probe.call("path_filestat_get", 3, 0, 1000, 10, 200) == Errno.SUCCESS
    assert (folder_probe.get(216, 1)[0], folder_probe.get_u64(232)) == (4, 10)


def test_nothing_else_is_found_and_nothing_can_be_changed(folder_probe):
    for path in (b"other", b"../script.lua", b"etc/passwd", b"script.lua/x"):
        assert open_file(folder_probe, path)[0] == Errno.NOENT
    assert open_file(folder_probe, b"new", how=1)[0] == Errno.ROFS
    assert open_file(folder_probe, b"script.lua", how=8)[0] == Errno.ROFS
    assert open_file(folder_probe, b"script.lua", rights=Rights.FD_WRITE)[0] == Errno.ROFS
    assert folder_probe.call("path_unlink_file", 3, 1000, 10) == Errno.ROFS
    assert folder_probe.call("path_rename", 3, 1000, 10, 3, 1000, 10) == Errno.ROFS
    assert folder_probe.call("path_symlink", 1000, 1, 3, 1000, 1) == Errno.ROFS
    open_file(folder_probe, b"script.lua")
    folder_probe.put_vectors(0, (200, 4))
    assert folder_probe.call("fd_write", 4, 0, 1, 64) == folder_probe.call("fd_read", 3, 0, 1, 64) == Errno.BADF
    assert open_file(folder_probe, b"x" * 5000)[0] == Errno.NAMETOOLONG


def test_files_are_not_opened_without_end(folder_probe):
    folder_probe.guest.files_max = 100
    answers = [open_file(folder_probe, b"script.lua")[0] for _ in range(100)]
    assert answers == [Errno.SUCCESS] * 96 + [Errno.MFILE] * 4
