"""Each call of WASI preview 1, made directly: what it answers and what it writes into the guest's memory."""

import io
import struct
import threading
import time

import pytest
import wasmtime

from worker_agent.runtimes.base import Bounds, Build, Call
from worker_agent.runtimes.stopping import StoppedError, StopReason, StopSignal
from worker_agent.runtimes.streams import LogTail, OutputFullError, OutputSpool
from worker_agent.runtimes.wasi.errno import Errno
from worker_agent.runtimes.wasi.guest import Guest, GuestExitError
from worker_agent.runtimes.wasi.host import CALLS, INTERFACE, WITHOUT_ANSWER, WasiHost
from worker_agent.runtimes.wasi.memory import CHUNK_BYTES, GuestMemory

TYPES = {"i": "i32", "I": "i64"}
MEMORY_BYTES = 64 * 65_536
OUTSIDE = MEMORY_BYTES - 2


def make_probe_text():
    """Return a module that imports all of preview 1 and exports it again."""
    lines = []
    for name, (parameters, _) in CALLS.items():
        kinds = " ".join(TYPES[letter] for letter in parameters)
        result = "" if name in WITHOUT_ANSWER else "(result i32)"
        lines.append(f'(import "{INTERFACE}" "{name}" (func ${name} (param {kinds}) {result}))')
        lines.append(f'(export "{name}" (func ${name}))')
    imports = "\n".join(line for line in lines if line.startswith("(import"))
    exports = "\n".join(line for line in lines if line.startswith("(export"))
    return f'(module {imports}\n(memory (export "memory") 64)\n{exports})'


class Probe:
    """A guest that calls what the test tells it to call."""

    def __init__(self, host, module, call):
        self.stop, self.output, self.log = call.stop, call.output, call.log
        self.store = wasmtime.Store(host.linker.engine)
        self.store.set_epoch_deadline(1)
        self.exports = host.linker.instantiate(self.store, module).exports(self.store)
        memory = GuestMemory(self.store)
        memory.memory = self.exports["memory"]
        self.guest = Guest.start(call, memory)
        self.host = host

    def call(self, name, *arguments):
        with self.host.serving(self.guest):
            return self.exports[name](self.store, *arguments)

    def put(self, place, data):
        self.exports["memory"].write(self.store, data, place)

    def get(self, place, size):
        return bytes(self.exports["memory"].read(self.store, place, place + size))

    def get_u32(self, place):
        return struct.unpack("<I", self.get(place, 4))[0]

    def get_u64(self, place):
        return struct.unpack("<Q", self.get(place, 8))[0]

    def put_vectors(self, place, *vectors):
        self.put(place, b"".join(struct.pack("<II", *vector) for vector in vectors))


@pytest.fixture(scope="session")
def host(toolchain):
    return WasiHost(toolchain.engine(Build()))


@pytest.fixture(scope="session")
def probe_module(toolchain):
    return wasmtime.Module(toolchain.engine(Build()), make_probe_text())


@pytest.fixture
def make_probe(host, probe_module, tmp_path):
    probes = []

    def make(given=b"", *, args=(), env=None, seed=None, output_bytes=10**7):
        call = Call(
            input=io.BytesIO(given),
            output=OutputSpool(output_bytes, str(tmp_path / "out")),
            log=LogTail(1000),
            stop=StopSignal(),
            bounds=Bounds(),
            args=args,
            env=env,
            seed=seed,
        )
        probes.append(Probe(host, probe_module, call))
        return probes[-1]

    yield make
    for probe in probes:
        probe.store.close()


@pytest.fixture
def probe(make_probe):
    return make_probe(b"0123456789")


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
        def read(self, _size):
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
    monkeypatch.setattr("worker_agent.runtimes.wasi.file_calls.MAX_TRANSFER_BYTES", 5)
    probe.put_vectors(0, (100, 2), (100, 2), (100, 2))
    assert probe.call("fd_write", 1, 0, 3, 64) == Errno.SUCCESS
    assert (probe.get_u32(64), probe.output.size) == (4, 4)
    assert probe.call("fd_read", 0, 0, 3, 64) == Errno.SUCCESS
    assert probe.get_u32(64) == 4


@pytest.mark.parametrize("name", ["fd_read", "fd_write"])
def test_too_many_buffers_are_invalid(probe, name):
    assert probe.call(name, 0, 0, 1025, 64) == Errno.INVAL
    assert probe.call(name, 0, 0, -1, 64) == Errno.INVAL


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


# Waiting


def clock_subscription(userdata, timeout_ns, *, clock=1, absolute=False):
    return struct.pack("<QB7xI4xQQH6x", userdata, 0, clock, timeout_ns, 0, absolute)


def stream_subscription(userdata, kind, fd):
    return struct.pack("<QB7xI28x", userdata, kind, fd)


def read_events(probe, place, count):
    return [struct.unpack("<QHB5xQH6x", probe.get(place + 32 * index, 32)) for index in range(count)]


def poll(probe, *subscriptions):
    probe.put(0, b"".join(subscriptions))
    answer = probe.call("poll_oneoff", 0, 1024, len(subscriptions), 4096)
    assert answer == Errno.SUCCESS
    return read_events(probe, 1024, probe.get_u32(4096))


def test_sleep_takes_as_long_as_asked(probe):
    started = time.monotonic()
    assert poll(probe, clock_subscription(5, 30_000_000)) == [(5, 0, 0, 0, 0)]
    assert 0.03 <= time.monotonic() - started < 1


def test_sleep_until_a_point_in_time(probe):
    started = time.monotonic()
    until = time.time_ns() + 30_000_000
    assert poll(probe, clock_subscription(5, until, clock=0, absolute=True)) == [(5, 0, 0, 0, 0)]
    assert poll(probe, clock_subscription(6, 1, clock=0, absolute=True)) == [(6, 0, 0, 0, 0)]
    assert 0.025 <= time.monotonic() - started < 1


def test_first_of_two_clocks_wakes(probe):
    events = poll(probe, clock_subscription(1, 3600 * 10**9), clock_subscription(2, 1000))
    assert events == [(2, 0, 0, 0, 0)]


def test_streams_are_ready_at_once(probe):
    events = poll(
        probe,
        clock_subscription(1, 3600 * 10**9),
        stream_subscription(2, 1, 0),
        stream_subscription(3, 2, 1),
        stream_subscription(4, 1, 9),
    )
    assert events == [(2, 0, 1, 10, 0), (3, 0, 2, 65536, 0), (4, Errno.BADF, 1, 0, 0)]


def test_input_at_its_end_hangs_up(make_probe):
    assert poll(make_probe(b""), stream_subscription(2, 1, 0)) == [(2, 0, 1, 0, 1)]


@pytest.mark.parametrize("count", [0, -1, 1025])
def test_wrong_number_of_subscriptions_is_invalid(probe, count):
    assert probe.call("poll_oneoff", 0, 1024, count, 4096) == Errno.INVAL


def test_unknown_kind_of_subscription_is_invalid(probe):
    probe.put(0, stream_subscription(1, 7, 0))
    assert probe.call("poll_oneoff", 0, 1024, 1, 4096) == Errno.INVAL


def test_stop_wakes_a_sleeping_guest(probe):
    timer = threading.Timer(0.05, probe.stop.stop, [StopReason.TIMEOUT])
    timer.start()
    started = time.monotonic()
    with pytest.raises(StoppedError):
        poll(probe, clock_subscription(1, 3600 * 10**9))
    assert time.monotonic() - started < 5
    timer.join()


def test_deterministic_sleep_takes_no_time_but_moves_the_clock(make_probe):
    probe = make_probe(seed=b"s")
    assert probe.call("clock_time_get", 1, 1, 5000) == Errno.SUCCESS
    started = time.monotonic()
    poll(probe, clock_subscription(1, 3600 * 10**9))
    assert time.monotonic() - started < 5
    assert probe.call("clock_time_get", 1, 1, 5008) == Errno.SUCCESS
    assert probe.get_u64(5008) - probe.get_u64(5000) > 3600 * 10**9


# What modules may do


def test_start_function_may_call_before_the_instance_is_there(run, build_text):
    source = """
    (module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\\10\\00\\00\\00\\02\\00\\00\\00")
      (data (i32.const 16) "hi")
      (func $greet (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      (start $greet)
      (func (export "_start")))
    """
    assert run(build_text(source)).output == b"hi"


def test_module_without_memory_gets_faults(run, build_text):
    source = """
    (module
      (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func (export "_start") (drop (call $yield)) (call $exit (call $random (i32.const 0) (i32.const 1)))))
    """
    done = run(build_text(source))
    assert done.error.message == f"exit code {Errno.FAULT}"
    assert done.usage.memory_bytes == 0


def test_exit_code_0_is_success(run, build_text):
    source = """
    (module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func (export "_start") (call $exit (i32.const 0)) unreachable))
    """
    assert run(build_text(source)).error is None


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ('(module (func (export "_start") (param i32)))', "parameters or results"),
        ('(module (memory (export "_start") 1))', "does not export a function"),
        ('(module (import "wasi_snapshot_preview1" "fd_dance" (func)) (func (export "_start")))', "'fd_dance'"),
        ('(module (import "env" "memory" (memory 1)) (func (export "_start")))', "'memory'"),
        (
            '(module (import "wasi_snapshot_preview1" "fd_close" (func)) (func (export "_start")))',
            "cannot be linked",
        ),
    ],
)
def test_module_that_is_no_command_is_refused(run, build_text, source, hint):
    done = run(build_text(source))
    assert done.error.kind == "load"
    assert hint in done.error.message
