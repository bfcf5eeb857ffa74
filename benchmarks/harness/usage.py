"""Processes with all of their descendants: what CPU time and memory they use, and how they are ended."""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil


@dataclass(frozen=True)
class Memory:
    """Memory of a group of processes, bytes."""

    resident: int
    """The sum of what each has in memory: pages that several share count for each of them."""
    proportional: int
    """The same with shared pages divided among those that share them: what ending the group would free."""


def process_tree(pids: Iterable[int]) -> list[psutil.Process]:
    """Return these processes and all of their descendants that are alive."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        try:
            root = psutil.Process(pid)
            found |= {each.pid: each for each in (root, *root.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return list(found.values())


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU time that a group used since it started, with its ended children, seconds."""
    total = 0.0
    for process in process_tree(pids):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory(pids: Iterable[int]) -> Memory:
    """Return what a group has in memory now."""
    resident = proportional = 0
    for process in process_tree(pids):
        try:
            info = process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        resident += info.rss
        proportional += info.pss
    return Memory(resident, proportional)


class IdleMeter:
    """What share of all cores of this machine had nothing to do, from its making on."""

    def __init__(self) -> None:
        self._idle_s, self._all_s = _read_cores()

    def read(self) -> float:
        """Return the share, 0 to 1."""
        idle_s, all_s = _read_cores()
        return (idle_s - self._idle_s) / max(all_s - self._all_s, 1e-9)


def _read_cores() -> tuple[float, float]:
    """Return the time that all cores together were idle, also while they waited for a disk, and all time."""
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    # Of virtual machines: that time is in that of users, too.
    return idle_s, sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)


class CpuMeter:
    """CPU time that named groups of processes use from its making on."""

    def __init__(self, groups: Mapping[str, Iterable[int]]) -> None:
        self._groups = {name: list(pids) for name, pids in groups.items()}
        self._before = {name: cpu_s(pids) for name, pids in self._groups.items()}

    def read(self) -> dict[str, float]:
        """Return the seconds of each group so far."""
        return {name: cpu_s(pids) - self._before[name] for name, pids in self._groups.items()}


def end_tree(roots: Sequence[subprocess.Popen[Any]], timeout_s: float) -> None:
    """Ask own child processes to end, then kill what is left of them and of their descendants. Safe to repeat."""
    every = process_tree(root.pid for root in roots if root.poll() is None)
    for root in roots:
        root.terminate()
    psutil.wait_procs(every, timeout_s)
    for process in every:
        # psutil compares the start time, so a process that was given the same id later is safe.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for root in roots:
        root.wait()
