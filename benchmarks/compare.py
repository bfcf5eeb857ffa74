"""Piecework and the queues that people would pick instead, side by side on the same work. ``make bench`` runs it.

Every queue runs in every round, on fresh storage. The table shows medians; runs that failed are named, and a wrong
answer makes the whole comparison fail. Results go to ``results/compare.json`` and ``results/compare.png``.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.comparison import cost_table, failures, setup_table, speed_table
from harness.field import FIELD, NODE, USUAL, leave_out_missing
from harness.guests import measure_rounds
from harness.machine import QUIET_LOAD, describe
from harness.plots import draw_comparison
from harness.rounds import Run, Sizes, run_rounds, save
from harness.tables import describe_machine, number

RESULTS = Path(__file__).parent / "results"
UNFINISHED = Path(__file__).parent.parent / "build" / "compare.json"


def main() -> int:
    """Run the comparison, print and store it. Returns 1 when an answer was wrong, or nothing can run."""
    options = parse_arguments()
    # A supervisor's SIGTERM must also end what was started here.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = leave_out_missing([*options.only, *(NODE if options.node else ())])
    if not names:
        return 1
    sizes = Sizes(options.jobs, options.singles, options.cpu_jobs, options.rounds)
    with tempfile.TemporaryDirectory(prefix="piecework-bench-", dir=options.folder) as folder:
        # PostgreSQL runs as another user when root starts it, and must get through to its own folder.
        Path(folder).chmod(0o755)
        about = describe(Path(folder))
        about["cpu_rounds"] = measure_rounds(about["cores"])
        print(describe_machine(about))
        if about["load"] > QUIET_LOAD:
            print(f"Something else runs on this machine (load {about['load']}): expect noise.")
        runs = []
        for run in run_rounds(names, sizes, about["cpu_rounds"], Path(folder)):
            runs.append(run)
            print(tell(run), flush=True)
            # What an interrupted comparison measured is not lost, but no result either.
            save(UNFINISHED, about, sizes, runs)
    save(options.out.with_suffix(".json"), about, sizes, runs)
    results = {"about": about, "sizes": vars(sizes), "runs": runs}
    for table in (speed_table(results), cost_table(results), setup_table(results)):
        table.show()
    draw_comparison(results, options.out.with_suffix(".png"))
    problems = failures(results)
    print("\n".join(problems) or "Every answer of every job was the right one.")
    return int(any("wrong" in line for line in problems))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    default = Sizes()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=default.jobs, help="no-ops in a round")
    parser.add_argument("--singles", type=int, default=default.singles, help="no-ops one after the other")
    parser.add_argument("--cpu-jobs", type=int, default=default.cpu_jobs, help="jobs of 10 ms; 0 leaves them out")
    parser.add_argument("--rounds", type=int, default=default.rounds)
    parser.add_argument("--only", nargs="+", choices=FIELD, default=USUAL, metavar="QUEUE", help=", ".join(FIELD))
    parser.add_argument("--node", action="store_true", help=f"also the queues of Node.js: {', '.join(NODE)}")
    parser.add_argument("--out", type=Path, default=RESULTS / "compare", help="where results go, without suffix")
    parser.add_argument("--folder", type=Path, help="where the queues store their jobs; its disk matters")
    return parser.parse_args(arguments)


def tell(run: Run) -> str:
    """Return a line about a run that has ended."""
    start = f"round {run['round'] + 1}  {run['name']:<20}"
    if "error" in run:
        return f"{start} failed: {run['error']}"
    computing = f"   10 ms: {number(run['cpu']['jobs_per_s'])}/s" if "cpu" in run else ""
    return (
        f"{start} {number(run['noop']['jobs_per_s']):>6}/s   p50 {number(run['latency']['p50_ms'])} ms{computing}"
        f"   [{run['took_s']:.0f} s, load {run['load']:.1f}]"
    )


if __name__ == "__main__":
    sys.exit(main())
