"""A sweep that is run again with one of a hundred inputs changed: with results kept for equal jobs, and without.

``python benchmarks/sweep.py`` takes about two minutes. Each job computes for some milliseconds. Of the jobs that
are answered in the second sweep a tenth are run all the same, and compared by the server.
"""

import argparse
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

from harness.guests import WORK
from harness.machine import describe
from harness.tables import Table, describe_machine, number

from piecework import Client
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.ids import Id

PATIENCE_S = 900.0
CHECKS = re.compile(r"^piecework_memo_checks_total ([0-9.]+)$", re.MULTILINE)
COLUMNS = ["equal jobs", "first sweep s", "second sweep s", "executions in that", "run and compared", "wrong"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000, help="of one sweep")
    parser.add_argument("--rounds", type=int, default=5_000, help="of computing in each job; 1,000 are about 1 ms")
    parser.add_argument("--check", type=float, default=0.1, help="the share of answered jobs that are run, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="piecework-sweep-") as folder:
        print(describe_machine(describe(Path(folder))))
        rows = [measure(Path(folder), options, memo=memo) for memo in (False, True)]
    Table(f"A sweep of {options.jobs:,} jobs, then again with 1 % changed", COLUMNS, rows).show()


def measure(folder: Path, options: argparse.Namespace, *, memo: bool) -> list[str]:
    """Run both sweeps on a fresh server. Returns a row of the table."""
    own = folder / ("memo" if memo else "plain")
    own.mkdir()
    environ = {**os.environ, "PIECEWORK_MEMO_CHECK": str(options.check)}
    inputs = [b"c%063d" % n for n in range(options.jobs)]
    changed = [b"cx" + each[2:] if n % 100 == 0 else each for n, each in enumerate(inputs)]
    with LocalServer(own, environ=environ) as server, Client(server.url) as client:
        agent = LocalAgent(server.url, own, "agent", "--slots", "2")
        lambda_id = client.create_lambda(
            WORK, "wasi", deterministic=True, memo=memo, args=[str(options.rounds), "0"]
        )
        first_s, _, wrong = sweep(client, lambda_id, inputs)
        second_s, ran, more_wrong = sweep(client, lambda_id, changed)
        while any(client.count_jobs(state=each) for each in ("Enqueued", "Running")):
            time.sleep(0.1)
        compared = CHECKS.search(urlopen(f"{server.url}/metrics").read().decode())
        stop_together([agent])
    checks = "0" if compared is None else number(float(compared[1]))
    equal = "run once" if memo else "run again"
    return [equal, number(first_s), number(second_s), number(ran), checks, number(wrong + more_wrong)]


def sweep(client: Client, lambda_id: Id, inputs: Sequence[bytes]) -> tuple[float, int, int]:
    """Submit all, and wait for all. Returns seconds, how many were executed, and how many answers were wrong."""
    began = time.perf_counter()
    ids = client.submit_many(lambda_id, inputs)
    outputs = client.gather(ids, PATIENCE_S)
    took_s = time.perf_counter() - began
    ran = sum(info.attempt != 0 for info in client.wait(ids))
    return took_s, ran, sum(found != given.upper() for found, given in zip(outputs, inputs, strict=True))


if __name__ == "__main__":
    main()
