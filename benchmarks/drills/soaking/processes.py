"""What programs take: memory, open files, threads and CPU time, by groups of their processes."""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from evidence import count_entries, own_cpu_s, own_memory_bytes, process_tree, read_children

MB = 1e6
SERVES = b"serve"
"""In the command line of a replica."""
WHATS = ("mb", "files", "threads", "cpu")


def name_groups(root: str) -> tuple[str, ...]:
    """Return what the groups of a program's processes are called."""
    return (root,) if root == "server" else (root, f"{root}_guests", f"{root}_replica")


def find_groups(root: str, pid: int, children: Mapping[int, list[int]]) -> dict[str, list[int]]:
    """Divide a program's processes: a server is one group; an agent is itself, its guest processes and a replica.

    That replica is its oldest one, with the guest processes of it: others come and go as agents are killed.
    """
    tree = process_tree(pid, children)
    if root == "server":
        return {root: tree}
    replicas = {each: process_tree(each, children) for each in sorted(tree[1:]) if SERVES in read_command(each)}
    serving = {each for replica in replicas.values() for each in replica}
    guests = [each for each in tree[1:] if each not in serving]
    oldest = next(iter(replicas.values()), [])
    return dict(zip(name_groups(root), (tree[:1], guests, oldest), strict=True))


def read_command(pid: int) -> list[bytes]:
    """Return the command line of a process; empty when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


class ProcessWatch:
    """Looks at processes again and again."""

    def __init__(self) -> None:
        self._cpu_s: dict[int, float] = {}
        self._last_s = math.nan

    def look(self, roots: Mapping[str, int], at_s: float) -> dict[str, float]:
        """Return figures of all groups, by ``GROUP_mb`` and so on; of CPU, the cores that they took since then."""
        children = read_children()
        found = {
            f"{name}_{what}": value
            for root, pid in roots.items()
            for name, pids in find_groups(root, pid, children).items()
            if pids
            for what, value in zip(WHATS, self._measure(pids, at_s - self._last_s), strict=True)
            if not math.isnan(value)
        }
        self._last_s = at_s
        return found

    def _measure(self, pids: Iterable[int], passed_s: float) -> tuple[float, float, float, float]:
        bytes_ = files = threads = 0
        used_s = 0.0
        for pid in pids:
            now_s = own_cpu_s(pid)
            used_s += now_s - self._cpu_s.get(pid, now_s)
            self._cpu_s[pid] = now_s
            bytes_ += own_memory_bytes(pid)
            files += count_entries(pid, "fd")
            threads += count_entries(pid, "task")
        return bytes_ / MB, float(files), float(threads), used_s / passed_s
