"""Measuring one or two checkouts in turns: what else the machine does slows both alike."""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol, cast

import structlog

Figures = dict[str, float]
"""µs, by what they are of."""


class Bench(Protocol):
    """What measures, in a folder of its own."""

    def measure(self) -> Figures:
        """Do a round."""


class Checkout:
    """A process that measures the code of one checkout, a round whenever it is told."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, sys.argv[0], "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ask, self._answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)

    def measure(self) -> Figures:
        self._ask.write("\n")
        self._ask.flush()
        figures: Figures = json.loads(self._answers.readline())
        return figures

    def close(self) -> None:
        self._ask.close()
        self._process.wait()


def run(make: Callable[[Path], Bench], about: str | None) -> None:
    """Be the program that measures what ``make`` makes: ``about`` says how it is called."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=20)
    parser.add_argument("--beside", metavar="PYTHON", help="that of another checkout")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        # What services log goes to standard output unless a program says otherwise: that has the figures.
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
        _serve(make)
        return
    checkouts = [Checkout(python) for python in (sys.executable, options.beside) if python]
    rounds = []
    for number in range(options.rounds + 1):
        turns = checkouts if number % 2 else checkouts[::-1]
        measured = {checkout: checkout.measure() for checkout in turns}
        rounds.append([measured[checkout] for checkout in checkouts])
    for checkout in checkouts:
        checkout.close()
    _show(rounds[1:])  # the first one fills caches


def _serve(make: Callable[[Path], Bench]) -> None:
    """Measure a round for each line that comes."""
    with tempfile.TemporaryDirectory() as folder:
        bench = make(Path(folder))
        gc.freeze()  # as the server does
        for _ in sys.stdin:
            print(json.dumps(bench.measure()), flush=True)


def _show(rounds: list[list[Figures]]) -> None:
    """Print the median of each figure, and of its ratio to the same figure of the other checkout."""
    width = max(map(len, rounds[0][0]))
    for name in rounds[0][0]:
        here = [each[0][name] for each in rounds]
        line = f"{name:{width}} {statistics.median(here):8.1f} µs, least {min(here):8.1f}"
        if len(rounds[0]) > 1:
            there = [each[1][name] for each in rounds]
            ratio = statistics.median(ours / theirs for ours, theirs in zip(here, there, strict=True))
            line += f"   beside {statistics.median(there):8.1f} µs, least {min(there):8.1f}   {ratio:.3f}x"
            line += f"   of the least {min(here) / min(there):.3f}x"
        print(line)
