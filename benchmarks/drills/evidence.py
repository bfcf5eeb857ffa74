"""What a drill looks at beside the answers of the server: logs, memory, and how it shows its figures."""

import argparse
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table

MIB = 1024 * 1024
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
TROUBLE = re.compile(r"traceback|\[error|\[critical|locked|\"level\": \"(error|critical)", re.IGNORECASE)
"""What no log of a server or agent may have: bugs, and locks that were not waited for."""

Figures = Mapping[str, object]


class DrillError(AssertionError):
    """The drill showed that a promise is broken; the message says which."""


def expect(holds: object, promise: str) -> None:
    """Raise DrillError unless a promise holds."""
    if not holds:
        raise DrillError(promise)


def trouble_in(log: Path) -> list[str]:
    """Return the lines of a log that tell of a bug or of a lock."""
    return [line for line in log.read_text(errors="replace").splitlines() if TROUBLE.search(line)]


def read_children() -> dict[int, list[int]]:
    """Return the children of all processes of this machine that have some."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in brackets, may hold spaces; the parent is the second field after it.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    return children


def process_tree(pid: int, children: Mapping[int, list[int]] | None = None) -> list[int]:
    """Return a process and all of its descendants that are alive, or were when ``children`` were read."""
    children = read_children() if children is None else children
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def own_memory_bytes(pid: int) -> int:
    """Return what one process has in memory now; 0 when it is gone."""
    return _status_bytes(pid, "VmRSS")


def own_cpu_s(pid: int) -> float:
    """Return the CPU time that one process used itself, seconds; 0 when it is gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return 0.0


def count_entries(pid: int, kind: str) -> int:
    """Return how many open files (``fd``) or threads (``task``) one process has; 0 when it is gone."""
    with suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{pid}/{kind}").iterdir())
    return 0


def _status_bytes(pid: int, field: str) -> int:
    """Return a size from /proc/PID/status; 0 when the process is gone."""
    with suppress(OSError):
        match = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        if match:
            return int(match[1]) * 1024
    return 0


def peak_memory_bytes(pid: int) -> int:
    """Return the most that a process and its descendants had in memory: the sum of their own peaks."""
    return sum(_status_bytes(each, "VmHWM") for each in process_tree(pid))


def memory_bytes(pid: int) -> int:
    """Return what a process and its descendants have in memory now."""
    return sum(map(own_memory_bytes, process_tree(pid)))


def thread_count(pid: int) -> int:
    """Return how many threads a process and its descendants have."""
    return sum(count_entries(each, "task") for each in process_tree(pid))


def show(title: str, figures: Figures) -> None:
    """Print a drill's figures as a table."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}" if isinstance(value, float) else str(value))
    Console(width=100).print(table)


def run_as_script(title: str, drill: Callable[..., Figures], **sizes: int) -> None:
    """Run a drill in full size, or in the sizes given on the command line, and print its figures."""
    parser = argparse.ArgumentParser(description=title)
    for name, size in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=size, help=f"{size} unless given")
    options = vars(parser.parse_args())
    with tempfile.TemporaryDirectory(prefix="piecework-drill-") as folder:
        show(title, drill(Path(folder), **options))
