"""The demo: a server, two agents and over a hundred real jobs here, checked. ``piecework demo`` runs it."""

import os
import shutil
import signal
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from piecework import Client
from piecework.client import ClientError, JobResult
from piecework.demo.picture import render
from piecework.demo.progress import watcher
from piecework.demo.words import CheckError, count_words, top_table
from piecework.local import House, ProgramError, open_house
from piecework.sample_guests import FOLDER


class DemoFailed(Exception):
    """Something was not as it must be; the message says what, and where logs and data are."""


def run_demo(picture: Path, console: Console) -> None:
    """Run the demo in a folder of its own, which is kept when something fails. Raises DemoFailed.

    The picture is written to a file. Variables PIECEWORK_… are removed from this process: the demo works with a
    database and a server of its own, whatever they name.
    """
    for name in [each for each in os.environ if each.startswith("PIECEWORK_")]:
        del os.environ[name]
    # A supervisor's SIGTERM must also stop what was started here.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="piecework-demo-"))
    try:
        run_in(folder, picture, console)
    except (CheckError, ClientError, ProgramError, OSError) as error:
        raise DemoFailed(f"the demo failed: {error}\nLogs and data: {folder}") from error
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def run_in(folder: Path, picture: Path, console: Console) -> None:
    """Start everything, run both parts, report, stop everything. Raises when anything is not as it must be."""
    began = time.monotonic()
    with open_house(folder, "--slots", "1", agents=2) as house:
        with Client(house.server.url) as client:
            console.print(f"A server on {house.server.url} and two agents, started in {since(began)}.")
            run_jobs(client, picture, console)
        stopping = time.monotonic()
    check_exits(house)
    console.print(f"Everything stopped in {since(stopping)}. The whole demo took {since(began)}.")


def run_jobs(client: Client, picture: Path, console: Console) -> None:
    """Run both parts and show what came out."""
    watch = watcher(client, console)
    names = ("word_frequencies", "merge_frequencies", "mandelbrot_tile")
    guests = {name: (FOLDER / f"{name}.wasm").read_bytes() for name in names}

    found = count_words(client, guests, watch)
    console.print(f"\nThe most frequent of {found.frequencies.total():,} words:")
    console.print(top_table(found))
    console.print("Python's own count says the same, document by document and in total.\n")

    tiles = render(client, guests, watch, picture)
    console.print(f"The picture is in {picture}.\n", highlight=False)
    console.print(agents_table(client, found.results + tiles))


def agents_table(client: Client, results: list[JobResult]) -> Table:
    """Show which agent ran how many jobs, and how long they took. Raises CheckError when jobs are missing."""
    seconds = defaultdict(list)
    for result in results:
        seconds[result.info.worker].append((result.info.usage and result.info.usage.wall_s) or 0.0)
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
