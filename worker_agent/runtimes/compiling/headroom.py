"""Bounding what something takes that has no bound of its own, such as compiling: memory, and CPUs of others."""

import ctypes
import os
import re
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
NICENESS = 5
"""Where there is work for all CPUs, others get three times as much of them."""

_DATA = re.compile(r"^VmData:\s+(\d+) kB$", re.MULTILINE)


@contextmanager
def bounding_growth(growth_bytes: int) -> Iterator[None]:
    """Let this process take so much more memory within the block. What it freed goes back to the system then.

    Native code that gets no memory ends the process: this is for processes that somebody replaces. Elsewhere than
    on Linux there is no bound.
    """
    if sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(_read_data_bytes() + growth_bytes, *limits, 2**62), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        _return_freed_memory()


def work_behind(work: Callable[[], T]) -> T:
    """Do something that lets others go first, in all the threads that it starts. Raises what ``work`` raises."""
    with ThreadPoolExecutor(1, "behind", _give_way) as pool:
        return pool.submit(work).result()


def _give_way() -> None:
    # Of a thread, on Linux; elsewhere of the whole process, which then would never be as quick again.
    if sys.platform == "linux":
        thread = os.PRIO_PROCESS, threading.get_native_id()
        os.setpriority(*thread, os.getpriority(*thread) + NICENESS)


def _read_data_bytes() -> int:
    """Return what RLIMIT_DATA counts, see ``proc(5)``."""
    found = _DATA.search(Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def _return_freed_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
