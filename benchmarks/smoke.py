"""A minute for the few figures that matter, beside those that were kept. ``make bench-smoke`` runs it.

Ratios to other queues in the same run say more than absolute figures, and CPU time per job more than jobs per
second: both suffer least from what else the machine does. ``--keep`` stores the figures for later comparisons.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.comparison import failures
from harness.guests import measure_rounds
from harness.machine import QUIET_LOAD, describe
from harness.rounds import Sizes, run_rounds, save
from harness.summary import Spread, ratio, summarise
from harness.tables import Table, describe_machine, number
from harness.work import CPU_S

KEPT = Path(__file__).parent / "results" / "smoke.json"
FIELD = ("piecework", "huey-redis", "piecework-v05", "celery")
SIZES = Sizes(jobs=2000, singles=100, cpu_jobs=200, rounds=1)
MB = 1e6

Figures = dict[str, float | None]


def main() -> int:
    """Measure, compare, print. Returns 1 when an answer was wrong or our own run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=SIZES.rounds, help="more of them: less noise")
    parser.add_argument("--keep", action="store_true", help=f"store the figures in {KEPT.name}")
    options = parser.parse_args()
    sizes = Sizes(SIZES.jobs, SIZES.singles, SIZES.cpu_jobs, options.rounds)
    with tempfile.TemporaryDirectory(prefix="piecework-smoke-") as folder:
        about = describe(Path(folder))
        about["cpu_rounds"] = measure_rounds(about["cores"])
        runs = list(run_rounds(FIELD, sizes, about["cpu_rounds"], Path(folder)))
    results = {"about": about, "sizes": vars(sizes), "runs": runs}
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else None
    print(describe_machine(about))
    show(results, kept)
    if about["load"] > QUIET_LOAD:
        print(f"Something else ran on this machine (load {about['load']}): believe only large differences.")
    if options.keep:
        save(KEPT, about, sizes, runs)
    problems = failures(results)
    print("\n".join(problems) or "Every answer of every job was the right one.")
    return int(bool(problems))


def show(results: dict[str, Any], kept: dict[str, Any] | None) -> None:
    """Print the figures of now, those that were kept, and the change."""
    now, before = figures(results), figures(kept) if kept else {}
    title = f"Kept: {describe_machine(kept['about'])}" if kept else "Nothing was kept yet: --keep"
    rows = [
        [name, number(value), number(before.get(name)), change(value, before.get(name))]
        for name, value in now.items()
    ]
    Table(title, ["figure", "now", "kept", "change"], rows).show()


def change(now: float | None, before: float | None) -> str:
    """Show how much a figure changed, in per cent."""
    return "" if now is None or not before else f"{now / before - 1:+.0%}"


def figures(results: dict[str, Any]) -> Figures:
    """Return the figures of a run; None for what was not measured."""
    found = {each.name: each for each in summarise(results["runs"])}
    ours, old, huey = found["piecework"], found["piecework-v05"], found["huey-redis"]
    ideal = results["about"]["cores"] / CPU_S
    rest = memory_at_rest(results["runs"])
    return {
        "no-ops/s": _median(ours.noop),
        "  cores idle meanwhile": ours.idle,
        "  of huey on Redis": ratio(ours, huey),
        "  of celery": ratio(ours, found["celery"]),
        "one job at a time, p50 ms": _median(ours.p50_ms),
        "  the same of huey on Redis": _median(huey.p50_ms),
        "v0.5 jobs/s of celery": ratio(old, found["celery"]),
        "10 ms jobs, of ideal": ours.cpu.median / ideal if ours.cpu else None,
        "  cores idle meanwhile ": ours.cpu_idle,
        "CPU of a no-op, µs: server": ours.cpu_us.get("server"),
        "  agents": ours.cpu_us.get("agents"),
        "  submitter": ours.cpu_us.get("submitter"),
        "CPU of a v0.5 job, µs: server": old.cpu_us.get("server"),
        "memory at rest, MB: server": rest.get("server"),
        "  one agent with its guest process": rest.get("agents"),
    }


def _median(spread: Spread | None) -> float | None:
    return spread.median if spread else None


def memory_at_rest(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return what the server, and one of the two agents, have in memory once they have run a few jobs, MB."""
    [rest, *_] = [run["rest"] for run in runs if run["name"] == "piecework" and "rest" in run] or [{}]
    agents = 2
    return {name: use["proportional"] / MB / (agents if name == "agents" else 1) for name, use in rest.items()}


if __name__ == "__main__":
    sys.exit(main())
