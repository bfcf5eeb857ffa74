"""The guest's clock and random numbers: the machine's, or derived from a seed."""

import hashlib
import os
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from piecework.worker_agent.runtimes.base import Call
from piecework.worker_agent.runtimes.journal import Journal, doing
from piecework.worker_agent.runtimes.stopping import StopSignal
from piecework.worker_agent.runtimes.verdict import GuestFailedError
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError

NS_PER_S = 1_000_000_000


class ClockId(IntEnum):
    """Which clock a guest asks for. All of them count nanoseconds."""

    REALTIME = 0
    """Since 1970."""
    MONOTONIC = 1
    """Since the guest started."""
    PROCESS_CPU = 2
    """CPU time of the guest."""
    THREAD_CPU = 3
    """The same: a guest is one thread."""


class Clock(Protocol):
    """Tells the time to one guest, and lets it sleep."""

    resolution_ns: int

    def read_ns(self, clock: ClockId) -> int:
        """Return what the clock shows, nanoseconds."""

    def sleep(self, duration_ns: int) -> None:
        """Return after that time. Raises StoppedError when the guest must stop."""


class SystemClock:
    """The machine's clock. Must be used in the thread that runs the guest."""

    resolution_ns = 1

    def __init__(self, call: Call) -> None:
        self._call = call
        self._started_ns = time.monotonic_ns()

    def read_ns(self, clock: ClockId) -> int:
        if clock is ClockId.REALTIME:
            return time.time_ns()
        if clock is ClockId.MONOTONIC:
            return time.monotonic_ns() - self._started_ns
        return round((time.thread_time() - self._call.cpu_started_s) * NS_PER_S)

    def sleep(self, duration_ns: int) -> None:
        wake_ns = time.monotonic_ns() + duration_ns
        while (left_ns := wake_ns - time.monotonic_ns()) > 0:
            self._call.stop.wait(min(left_ns / NS_PER_S, 3600))


class SeededClock:
    """A clock that is the same in every run: each look and each sleep move it, nothing else does.

    Sleeping takes no time.
    """

    resolution_ns = 1000
    _EPOCH_NS = 1_577_836_800 * NS_PER_S
    """2020-01-01; the seed adds up to a year."""

    def __init__(self, seed: bytes, stop: StopSignal) -> None:
        self._stop = stop
        self._elapsed_ns = 0
        offset_s = int.from_bytes(hashlib.sha256(b"clock" + seed).digest()[:8], "big") % (365 * 86_400)
        self._started_ns = self._EPOCH_NS + offset_s * NS_PER_S

    def read_ns(self, clock: ClockId) -> int:
        self._elapsed_ns += self.resolution_ns
        return self._elapsed_ns + (self._started_ns if clock is ClockId.REALTIME else 0)

    def sleep(self, duration_ns: int) -> None:
        self._stop.check()
        self._elapsed_ns += max(0, duration_ns)


class JournaledClock:
    """The machine's clock in a recorded run, or as it was then."""

    resolution_ns = SystemClock.resolution_ns

    def __init__(self, clock: SystemClock, journal: Journal) -> None:
        self.unseen = clock
        """Of which the guest is told nothing."""
        self._journal = journal

    def read_ns(self, clock: ClockId) -> int:
        shown = self._journal.through("clock", clock.name.encode(), lambda: b"%d" % self.unseen.read_ns(clock))
        return read_number(shown)

    def sleep(self, duration_ns: int) -> None:
        self._journal.through("sleep", b"%d" % duration_ns, doing(lambda: self.unseen.sleep(duration_ns)))


def choose_clock(call: Call) -> Clock:
    """Return the clock that the guest of a call is told of. Its time begins now."""
    if call.journal is not None:
        return JournaledClock(SystemClock(call), call.journal)
    return SystemClock(call) if call.seed is None else SeededClock(call.seed, call.stop)


def choose_random(call: Call) -> "RandomSource":
    """Return where the guest of a call gets its random numbers."""
    return system_random if call.seed is None else seeded_random(call.seed)


def find_now_ns(clock: Clock) -> int:
    """Return the time for a file that changes now, nanoseconds since 1970: a recorded guest may look at it."""
    return clock.read_ns(ClockId.REALTIME) if isinstance(clock, JournaledClock) else time.time_ns()


def read_number(shown: bytes) -> int:
    """Return a number that a journal has. Raises GuestFailedError when it is damaged there."""
    try:
        return int(shown)
    except ValueError:
        raise GuestFailedError(f"the journal is damaged: {shown[:40]!r} is no number") from None


RandomSource = Callable[[int], bytes]
"""Gives so many random bytes."""

system_random: RandomSource = os.urandom


def seeded_random(seed: bytes) -> RandomSource:
    """Return a source that gives the same bytes for the same seed, however they are asked for."""
    pool = bytearray()
    blocks = 0

    def take(size: int) -> bytes:
        nonlocal blocks
        while len(pool) < size:
            pool.extend(hashlib.sha512(b"random" + blocks.to_bytes(8, "big") + seed).digest())
            blocks += 1
        taken = bytes(pool[:size])
        del pool[:size]
        return taken

    return take


def parse_clock(clock: int) -> ClockId:
    """Return the clock with this number. Raises WasiError (INVAL) when there is none."""
    try:
        return ClockId(clock)
    except ValueError:
        raise WasiError(Errno.INVAL) from None
