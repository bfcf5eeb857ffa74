"""What long-running programs do about their memory."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, threading
from piecework.memory import share_heaps

{first}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(12)

def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(12)]
[each.start() for each in threads]
[each.join() for each in threads]
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other heaps")
@pytest.mark.parametrize(("first", "most"), [("share_heaps()", 2), ("", 1000)])
def test_threads_share_two_heaps_when_asked_to(first: str, most: int):
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(first=first)], capture_output=True, text=True, check=True
    ).stdout
    heaps = told.count("<heap nr=")
    assert 1 <= heaps <= most
    assert first or heaps > 2, "threads have heaps of their own otherwise"
