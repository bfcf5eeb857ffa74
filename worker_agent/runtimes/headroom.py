"""Bounding how much memory this process takes for something that has no bound of its own, such as compiling."""

import ctypes
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def _read_data_bytes() -> int:
    """Return what RLIMIT_DATA counts, see ``proc(5)``."""
    found = _DATA.search(Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def _return_freed_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
