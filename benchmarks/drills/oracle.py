"""What is expected of all that reads what strangers wrote: it takes an input, or refuses it in its own words."""

import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple

from evidence import MIB

CPU_MAX_S = 2.0
"""No input may take longer, on any machine that the drill is for."""
PATIENCE_S = 30.0
"""An input after which nothing happened for so long is one that hangs."""
GROWTH_MAX_BYTES = 256 * MIB
"""No input may need more memory than that, beyond the most that was needed before."""
SHOWN = 300
"""So many bytes of an input stand in a message."""


class Reader(NamedTuple):
    """Something that reads what strangers wrote."""

    name: str
    make: Callable[[Random], Any]
    """Makes another input."""
    read: Callable[[Any], object]
    refusals: tuple[type[Exception], ...] = ()
    """What it raises for an input that it does not take, as its documentation has it."""


class HangError(Exception):
    """An input took longer than ``PATIENCE_S``."""


def judge(reader: Reader, given: Any) -> tuple[bool, str]:
    """Have an input read. Returns whether it was taken, and what is wrong with how it went; "" for nothing."""
    before, began = _most_memory(), time.thread_time()
    taken, fault = True, ""
    try:
        with _patience():
            reader.read(given)
    except reader.refusals:
        taken = False
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what was looked for
        fault = f"{type(error).__name__}: {str(error)[:SHOWN]}"
    took, grown = time.thread_time() - began, _most_memory() - before
    if took > CPU_MAX_S:
        fault = fault or f"it took {took:.1f} s of CPU time"
    if grown > GROWTH_MAX_BYTES:
        fault = fault or f"it took {grown // MIB} MiB of memory"
    return taken, fault and f"{reader.name}: {fault}: {_show(given)}"


def _show(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]} … {text[-SHOWN:]} ({len(text):,} characters)"


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _patience() -> Iterator[None]:
    """Raise HangError when the block lasts too long; for the main thread."""

    def give_up(_number: int, _frame: object) -> None:
        raise HangError(f"nothing came of it within {PATIENCE_S:.0f} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
