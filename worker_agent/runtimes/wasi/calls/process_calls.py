"""Calls about the process: arguments, environment, clocks, random numbers, the end."""

from piecework.worker_agent.runtimes.wasi.clocks import parse_clock
from piecework.worker_agent.runtimes.wasi.errno import Errno
from piecework.worker_agent.runtimes.wasi.guest import Calls, Guest, GuestExitError


def _write_sizes(guest: Guest, texts: tuple[bytes, ...], count: int, size: int) -> Errno:
    guest.memory.write_u32(count, len(texts))
    guest.memory.write_u32(size, sum(len(text) + 1 for text in texts))
    return Errno.SUCCESS


def _write_texts(guest: Guest, texts: tuple[bytes, ...], pointers: int, buffer: int) -> Errno:
    for index, text in enumerate(texts):
        guest.memory.write_u32(pointers + 4 * index, buffer)
        guest.memory.write(buffer, text + b"\0")
        buffer += len(text) + 1
    return Errno.SUCCESS


def args_sizes_get(guest: Guest, count: int, size: int) -> Errno:
    return _write_sizes(guest, guest.args, count, size)


def args_get(guest: Guest, pointers: int, buffer: int) -> Errno:
    return _write_texts(guest, guest.args, pointers, buffer)


def environ_sizes_get(guest: Guest, count: int, size: int) -> Errno:
    return _write_sizes(guest, guest.env, count, size)


def environ_get(guest: Guest, pointers: int, buffer: int) -> Errno:
    return _write_texts(guest, guest.env, pointers, buffer)


def clock_res_get(guest: Guest, clock: int, resolution: int) -> Errno:
    parse_clock(clock)
    guest.memory.write_u64(resolution, guest.clock.resolution_ns)
    return Errno.SUCCESS


def clock_time_get(guest: Guest, clock: int, _precision: int, now: int) -> Errno:
    guest.memory.write_u64(now, guest.clock.read_ns(parse_clock(clock)))
    return Errno.SUCCESS


def random_get(guest: Guest, buffer: int, size: int) -> Errno:
    for piece in guest.memory.cut(buffer, size):
        guest.stop.check()
        piece[:] = guest.random(len(piece))
    return Errno.SUCCESS


def proc_exit(_guest: Guest, code: int) -> None:
    raise GuestExitError(code & 0xFFFF_FFFF)


def proc_raise(_guest: Guest, _signal: int) -> Errno:
    return Errno.NOSYS


def sched_yield(guest: Guest) -> Errno:
    guest.stop.check()
    return Errno.SUCCESS


CALLS: Calls = {
    "args_get": ("ii", args_get),
    "args_sizes_get": ("ii", args_sizes_get),
    "environ_get": ("ii", environ_get),
    "environ_sizes_get": ("ii", environ_sizes_get),
    "clock_res_get": ("ii", clock_res_get),
    "clock_time_get": ("iIi", clock_time_get),
    "random_get": ("ii", random_get),
    "proc_exit": ("i", proc_exit),
    "proc_raise": ("i", proc_raise),
    "sched_yield": ("", sched_yield),
}
