"""How figures grow with queue depth, connected agents, slots, and blob sizes; and how long starts take.

In full it takes about a quarter of an hour. ``--quick`` uses small sizes and stores nothing. Otherwise results go
to ``results/scale.json`` and ``results/scale.png``.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.machine import describe
from harness.plots import draw_lines
from harness.tables import describe_machine
from scaling import TABLES, blobs, depth, fleet, lanes, pollers, slots, starts, stores

RESULTS = Path(__file__).parent / "results" / "scale.json"
KB, MB = 1_000, 1_000_000

Rows = list[dict[str, Any]]

QUICK: dict[str, Callable[[Path], Rows]] = {
    "depth": lambda folder: depth.measure(folder, [1_000, 10_000]),
    "lanes": lambda folder: lanes.measure(folder, [1_000, 3_000]),
    "agents": lambda folder: pollers.measure(folder, [1, 50], jobs=300, singles=20),
    "fleet": lambda folder: fleet.measure(folder, [100], seconds=2.0, databases={"sqlite": 1}),
    "slots": lambda folder: slots.measure(folder, [1, 4], jobs=300),
    "blobs": lambda folder: blobs.measure(folder, [KB, MB]),
    "stores": lambda folder: stores.measure(folder, [MB]),
    "starts": lambda folder: starts.measure(folder, repeats=1),
}
FULL: dict[str, Callable[[Path], Rows]] = {
    "depth": lambda folder: depth.measure(folder, [1_000, 10_000, 100_000, 1_000_000]),
    "lanes": lambda folder: lanes.measure(folder, [1_000, 1_000_000]),
    "agents": lambda folder: pollers.measure(folder, [1, 10, 100, 1_000, 5_000], jobs=3_000, singles=200),
    "fleet": lambda folder: fleet.measure(folder, [1_000, 3_000, 10_000], 10.0, {"sqlite": 1, "postgres": 2}),
    "slots": lambda folder: slots.measure(folder, [1, 2, 4, 8, 16, 32, 64], jobs=3_000),
    "blobs": lambda folder: blobs.measure(folder, [KB, 10 * KB, 100 * KB, MB, 10 * MB, 100 * MB]),
    "stores": lambda folder: stores.measure(folder, [100 * KB, MB, 10 * MB, 100 * MB]),
    "starts": lambda folder: starts.measure(folder, repeats=5),
}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; nothing is stored")
    parser.add_argument("--only", nargs="+", choices=FULL, default=list(FULL), help="these parts; others are kept")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() and not options.quick else {"parts": {}}
    for part in options.only:
        with tempfile.TemporaryDirectory(prefix=f"piecework-{part}-") as folder:
            about = describe(Path(folder))
            rows = (QUICK if options.quick else FULL)[part](Path(folder))
        print(describe_machine(about))
        TABLES[part](rows).show()
        results["parts"][part] = {"about": about, "rows": rows}
        if not options.quick:
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if not options.quick:
        draw(results["parts"], RESULTS.with_suffix(".png"))


def draw(parts: dict[str, Any], path: Path) -> None:
    """Draw what grows with depth, agents and slots; parts that were not measured are left out."""
    panels = []
    if "depth" in parts:
        rows = parts["depth"]["rows"]
        costs = [(row["depth"], row["direct_us"]) for row in rows]
        lines = {f"of {jobs}": [(jobs_, cost[jobs]) for jobs_, cost in costs] for jobs in ("1", "100")}
        panels.append(("claim, µs", "jobs enqueued", lines))
    if "agents" in parts:
        rows = parts["agents"]["rows"]
        panels.append(("no-ops per second", "agents", {"beside idle agents": pairs(rows, "agents", "jobs_per_s")}))
        panels.append(("server, MB", "agents", {"with their polls": pairs(rows, "agents", "server_mb")}))
    if "slots" in parts:
        rows = parts["slots"]["rows"]
        panels.append(("no-ops per second", "slots", {"one agent": pairs(rows, "slots", "jobs_per_s")}))
    if panels:
        draw_lines(path, panels)


def pairs(rows: Rows, x: str, y: str) -> list[tuple[float, float]]:
    """Return the points of a line."""
    return [(row[x], row[y]) for row in rows]


if __name__ == "__main__":
    main()
