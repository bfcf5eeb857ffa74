"""Progress of long work, on stderr and only when someone watches: stdout stays clean for pipes."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from piecework.cli.screen.display import stderr_console
from piecework.terminal.texts import escape_text

LARGE_BYTES = 4_000_000
"""Transfers below this size show no bar: they are over before it could be read."""


@contextmanager
def counting(label: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a bar of ``total`` steps; the function that is given advances it by one, or by as many as are told."""
    with _bar(MofNCompleteColumn()) as bar:
        task = bar.add_task(label, total=total)
        yield lambda steps=1: bar.advance(task, steps)


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; a bar shows how much of a large one was read."""
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < LARGE_BYTES:
            yield file
            return
        with _bar(DownloadColumn(), TransferSpeedColumn()) as bar:
            task = bar.add_task(escape_text(path.name), total=size)
            yield bar.wrap_file(file, task_id=task)


@contextmanager
def receiving(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of ``total`` bytes; the function that is given sets how many have come."""
    if total < LARGE_BYTES:
        yield lambda _: None
        return
    with _bar(DownloadColumn(), TransferSpeedColumn()) as bar:
        task = bar.add_task(escape_text(label), total=total)
        yield lambda received: bar.update(task, completed=received)


def _bar(*columns: ProgressColumn) -> Progress:
    layout = (TextColumn("{task.description}", markup=False), BarColumn(), *columns, TimeElapsedColumn())
    return Progress(*layout, console=stderr_console(), transient=True, disable=not sys.stderr.isatty())
