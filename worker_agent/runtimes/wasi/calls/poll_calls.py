"""Waiting for time to pass or for streams to be ready: how guests sleep."""

import struct
from typing import NamedTuple

from piecework.worker_agent.runtimes.live import wait_readable
from piecework.worker_agent.runtimes.wasi.clocks import parse_clock
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.guest import Calls, Guest

_SUBSCRIPTION = struct.Struct("<QB7x32s")
_CLOCK = struct.Struct("<I4xQQH6x")
_FD = struct.Struct("<I28x")
_EVENT = struct.Struct("<QHB5xQH6x")
"""Layouts of preview 1: a subscription has 48 bytes, an event 32."""

_ON_CLOCK, _ON_READ, _ON_WRITE = 0, 1, 2
_ABSOLUTE = 1
_HANGUP = 1
MAX_SUBSCRIPTIONS = 65_536


class _Subscription(NamedTuple):
    """Something that a guest waits for."""

    userdata: int
    kind: int
    fd: int
    """For streams."""
    wait_ns: int
    """For clocks: from now on."""


def poll_oneoff(guest: Guest, subscriptions: int, events: int, count: int, done: int) -> Errno:
    """Answer what is ready. Streams always are; else wait until the first clock is due."""
    if not 0 < count <= MAX_SUBSCRIPTIONS:
        raise WasiError(Errno.INVAL)
    data = guest.memory.read(subscriptions, _SUBSCRIPTION.size * count)
    wanted = [_parse(guest, *fields) for fields in _SUBSCRIPTION.iter_unpack(data)]
    live = _find_live(guest, wanted)
    wait_ns = min((each.wait_ns for each in wanted if each not in live), default=-1)
    readable: set[int] = set()
    if live:
        readable = wait_readable(live.values(), wait_ns / 1_000_000_000 if wait_ns > 0 else wait_ns, guest.stop)
        wait_ns = 0 if readable else wait_ns
    elif wait_ns > 0:
        guest.clock.sleep(wait_ns)
    due = [each for each in wanted if (live[each] in readable if each in live else each.wait_ns <= wait_ns)]
    ready = [_make_event(guest, each) for each in due]
    guest.memory.write(events, b"".join(ready))
    guest.memory.write_u32(done, len(ready))
    return Errno.SUCCESS


def _parse(guest: Guest, userdata: int, kind: int, body: bytes) -> _Subscription:
    if kind == _ON_CLOCK:
        clock, timeout_ns, _precision, flags = _CLOCK.unpack(body)
        clock_id = parse_clock(clock)
        wait_ns = timeout_ns - guest.clock.read_ns(clock_id) if flags & _ABSOLUTE else timeout_ns
        return _Subscription(userdata, kind, -1, max(0, wait_ns))
    if kind in (_ON_READ, _ON_WRITE):
        return _Subscription(userdata, kind, _FD.unpack(body)[0], 0)
    raise WasiError(Errno.INVAL)


def _find_live(guest: Guest, wanted: list[_Subscription]) -> dict[_Subscription, int]:
    """Return the streams to be read that may have nothing yet, with what to wait for."""
    found = {}
    for each in wanted:
        file = guest.find(each.fd) if each.kind == _ON_READ else None
        if file is not None and (descriptor := file.find_descriptor()) is not None:
            found[each] = descriptor
    return found


def _make_event(guest: Guest, wanted: _Subscription) -> bytes:
    if wanted.kind == _ON_CLOCK:
        return _EVENT.pack(wanted.userdata, Errno.SUCCESS, wanted.kind, 0, 0)
    file = guest.find(wanted.fd)
    if file is None:
        return _EVENT.pack(wanted.userdata, Errno.BADF, wanted.kind, 0, 0)
    available = file.available()
    return _EVENT.pack(wanted.userdata, Errno.SUCCESS, wanted.kind, available, 0 if available else _HANGUP)


CALLS: Calls = {"poll_oneoff": ("iiii", poll_oneoff)}
