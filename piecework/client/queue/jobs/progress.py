"""Progress of many jobs: a bar on a terminal, or the caller's own function."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int | None], object]
"""Is told how many jobs have ended, and how many there will be; None when that is not known."""
Tell = Callable[[int], object]
"""Is told how many jobs have ended."""


@contextmanager
def open_progress(wanted: bool | Progress, total: int | None) -> Iterator[Tell]:
    """Give what is to be told how many of ``total`` jobs have ended: it draws on stderr if that is a terminal."""
    if callable(wanted):
        yield lambda ended: wanted(ended, total)
    elif wanted and sys.stderr.isatty():
        with _bar(total) as tell:
            yield tell
    else:
        yield lambda _: None


@contextmanager
def _bar(total: int | None) -> Iterator[Tell]:
    # Only here: most programs that use the client show nothing.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bars, TimeElapsedColumn  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Redirected, what the caller prints would end on stderr although its stdout is a file.
    with Bars(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as bars:
        task = bars.add_task("jobs", total=total)
        yield lambda ended: bars.update(task, completed=ended)
