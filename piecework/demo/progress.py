"""Progress bars: one for each batch of jobs, moved by the results as they come in."""

from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from piecework import Client
from piecework.client import JobResult
from piecework.protocol.ids import Id

Watch = Callable[[str, Iterable[Id]], Iterator[tuple[Id, JobResult]]]
"""Goes through the results of jobs and shows how far they are, under a title."""

PATIENCE_S = 300.0
"""No batch of the demo takes this long on any machine that can run it at all."""


def watcher(client: Client, console: Console) -> Watch:
    """Return a Watch that draws on ``console``."""

    def watch(title: str, jobs: Iterable[Id]) -> Iterator[tuple[Id, JobResult]]:
        columns = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        ids = list(jobs)
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(title, total=len(ids))
            for job, result in client.results(ids, timeout_s=PATIENCE_S):
                progress.advance(bar)
                yield job, result

    return watch
