"""The demo: a server, two agents and 130 real jobs on this machine, checked. ``make demo`` runs it.

Exit code 0 when every result is right and everything stopped in order, 1 otherwise, 130 after Ctrl-C.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from picture import render
from progress import watcher
from rich.console import Console
from rich.table import Table
from words import CheckError, count_words, top_table

from piecework import Client
from piecework.client import ClientError, JobResult
from piecework.local import House, ProgramError, open_house

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "samples"
PICTURE = HERE / "picture.png"
INTERRUPTED = 130


def main() -> int:
    """Run the demo in a folder of its own, which is kept when something fails."""
    console = Console()
    # A supervisor's SIGTERM must also stop what was started here.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="piecework-demo-"))
    try:
        run_in(folder, console)
    except (CheckError, ClientError, ProgramError) as error:
        console.print(f"[bold red]The demo failed:[/] {error}", highlight=False)
        console.print(f"Logs and data: {folder}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        shutil.rmtree(folder)
        return INTERRUPTED
    shutil.rmtree(folder)
    return 0


def run_in(folder: Path, console: Console) -> None:
    """Start everything, run both parts, report, stop everything. Raises when anything is not as it must be."""
    began = time.monotonic()
    with open_house(folder, "--slots", "1", agents=2) as house:
        with Client(house.server.url) as client:
            console.print(f"A server on {house.server.url} and two agents, started in {since(began)}.")
            run_jobs(client, console)
        stopping = time.monotonic()
    check_exits(house)
    console.print(f"Everything stopped in {since(stopping)}. The whole demo took {since(began)}.")


def run_jobs(client: Client, console: Console) -> None:
    """Run both parts and show what came out."""
    watch = watcher(client, console)
    names = ("word_frequencies", "merge_frequencies", "mandelbrot_tile")
    guests = {name: (SAMPLES / f"{name}.wasm").read_bytes() for name in names}

    found = count_words(client, guests, watch)
    console.print(f"\nThe most frequent of {found.frequencies.total():,} words:")
    console.print(top_table(found))
    console.print("Python's own count says the same, document by document and in total.\n")

    tiles = render(client, guests, watch, PICTURE)
    console.print(f"The picture is in {os.path.relpath(PICTURE)}.\n", highlight=False)
    console.print(agents_table(client, found.results + tiles))


def agents_table(client: Client, results: list[JobResult]) -> Table:
    """Show which agent ran how many jobs, and how long they took. Raises CheckError when jobs are missing."""
    seconds = defaultdict(list)
    for result in results:
        seconds[result.info.worker].append(result.info.usage.wall_s)
    table = Table()
    for column in ("agent", "jobs", "ran for", "longest"):
        table.add_column(column, justify="left" if column == "agent" else "right")
    for worker in client.workers():
        own = seconds.pop(worker.id, [])
        table.add_row(str(worker.name), str(len(own)), f"{sum(own):.1f} s", f"{max(own, default=0):.2f} s")
    if seconds:
        raise CheckError(f"jobs were run by workers that nobody knows: {list(seconds)}")
    return table


def check_exits(house: House) -> None:
    """Raise CheckError unless the server and every agent ended by themselves."""
    for program in (house.server, *house.agents):
        if program.exit_code != 0:
            raise CheckError(f"{program.name} ended with exit code {program.exit_code}:\n{program.read_log()}")


def since(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
