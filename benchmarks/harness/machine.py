"""What the figures were measured on: without it they mean nothing."""

import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from piecework import __version__

FLUSHES = 100
FLUSH_BYTES = 4096
QUIET_LOAD = 1.0
"""Above this load average something else was running."""


def describe(folder: Path) -> dict[str, Any]:
    """Return the facts about this machine, its disk at ``folder``, and this program."""
    return {
        "at": time.strftime("%Y-%m-%d %H:%M"),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "piecework": __version__,
        "commit": commit(),
        "load": round(os.getloadavg()[0], 2),
        "flushes_per_s": round(flushes_per_s(folder)),
    }


def cpu_name() -> str:
    """Return what the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"


def commit() -> str:
    """Return the commit that is checked out, with ``+`` when files were changed since; empty outside of git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--abbrev=10"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    return found.stdout.strip()


def flushes_per_s(folder: Path) -> float:
    """Return how many small appends this disk makes durable in a second, one after the other."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        block = bytes(FLUSH_BYTES)
        began = time.perf_counter()
        for _ in range(FLUSHES):
            file.write(block)
            os.fdatasync(file.fileno())
        return FLUSHES / (time.perf_counter() - began)
