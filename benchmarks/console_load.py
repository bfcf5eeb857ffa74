"""How fast jobs go while people have the overview open in three browsers, beside as fast as they go alone.

Rounds with and without open pages take turns, in Debian's Chromium driven by Playwright (``make browser`` installs
it): ``python benchmarks/console_load.py``. On few CPUs the browsers take some of the agents' time; what the server
does for them is told by its CPU time.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from chromium import open_browser
from harness.guests import WORK
from harness.machine import describe
from harness.tables import Table, describe_machine, number
from harness.usage import CpuMeter
from harness.work import NOOP, make_payloads

from piecework import Client
from piecework.local import House, open_house
from piecework.protocol.ids import Id

BROWSERS = 3
BATCHES = 4
"""Of a round: together they take longer than a page waits until it asks again."""
ASKED = "performance.getEntriesByType('resource').filter(each => each.initiatorType == 'xmlhttprequest').length"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=12_000, help=f"no-ops of a batch; a round has {BATCHES}")
    parser.add_argument("--rounds", type=int, default=5, help="of each kind")
    options = parser.parse_args()
    rounds: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory(prefix="piecework-console-") as folder, open_browser() as browser:
        about = describe(Path(folder))
        pages = [browser.new_context().new_page() for _ in range(BROWSERS)]
        with open_house(Path(folder)) as house, Client(house.server.url) as client:
            noop = client.create_lambda(WORK.read_bytes(), name="noop", args=["1"])
            client.wait(client.submit_many(noop, make_payloads(500, NOOP, "warm-up")))
            for turn in range(2 * options.rounds):
                is_open = turn % 4 in {1, 2}
                rounds[is_open].append(run(house, client, noop, options.jobs, pages if is_open else [], turn))
    print(describe_machine(about))
    show(rounds)


def run(house: House, client: Client, noop: Id, jobs: int, pages: list[Any], turn: int) -> dict[str, float]:
    """Run a round with the overview open in these pages, and return what came of it."""
    for page in pages:
        page.goto(f"{house.server.url}/console")
    meter = CpuMeter({"server": [house.server.pid], "agents": [agent.pid for agent in house.agents]})
    began = time.perf_counter()
    for batch in range(BATCHES):
        client.wait(client.submit_many(noop, make_payloads(jobs, NOOP, f"{turn} {batch}")))
    took_s = time.perf_counter() - began
    cpu_us = {name: seconds / (jobs * BATCHES) * 1e6 for name, seconds in meter.read().items()}
    asked = sum(page.evaluate(ASKED) for page in pages)
    for page in pages:
        page.goto("about:blank")
    return {"jobs_per_s": jobs * BATCHES / took_s, "asked": asked} | cpu_us


def show(rounds: dict[bool, list[dict[str, float]]]) -> None:
    """Print the medians of both kinds of rounds, and their ratios."""
    words = {
        "jobs_per_s": "no-ops/s",
        "server": "CPU of a no-op, µs: server",
        "agents": "  agents",
        "asked": "asked",
    }
    rows = []
    for name, word in words.items():
        alone, watched = (statistics.median(each[name] for each in rounds[kind]) for kind in (False, True))
        rows.append([word, number(alone), number(watched), f"{watched / alone - 1:+.1%}" if alone else ""])
    title = f"Medians of {len(rounds[True])} rounds of each kind"
    Table(title, ["figure", "alone", f"{BROWSERS} browsers", "change"], rows).show()


if __name__ == "__main__":
    main()
