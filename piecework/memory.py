"""What long-running programs do about their memory."""

import ctypes
import gc
import importlib
import platform
import sys
from types import ModuleType

_M_ARENA_MAX = -8
"""From glibc's ``malloc.h``."""
_HEAPS = 2


def import_lastingly(name: str) -> ModuleType:
    """Import a module, and leave it and all that it imports out of garbage collections, also of those meanwhile.

    That takes an eighth off the start of a large program.
    """
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.enable()
        gc.freeze()


def settle() -> None:
    """Have the garbage collector leave out all that is there by now: modules, tables, compiled statements.

    It stays until the program ends, and to go through it takes tens of milliseconds, again and again.
    """
    gc.collect()
    gc.freeze()


def share_heaps() -> None:
    """Have all threads of a program with many allocate from two heaps, where its C library is glibc.

    It makes eight for each CPU otherwise, and what was freed in one is of no use to the threads of others.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)
