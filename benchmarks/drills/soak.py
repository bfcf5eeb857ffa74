"""Drill: everything at once for hours, with faults: server, agents, guests and a served function.

``make soak HOURS=8`` sends jobs of all kinds, HTTP calls and requests of v0.5 clients through real programs, kills
these by a seeded plan, fills the server's disk, and looks at memory, files, threads, CPU time, database, blobs,
queue and latency every few seconds. What was acknowledged must come to exactly one outcome with the right bytes,
nothing may grow, and no log may tell of a bug. Samples, a picture and logs are in the folder that ``--out`` names.
"""

import argparse
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests" / "support")]

from curves import Panel, draw  # noqa: E402
from evidence import Figures, show  # noqa: E402
from guests import guest  # noqa: E402
from soaking.faults import Fault, Hazards  # noqa: E402
from soaking.ledger import FeedReader, Ledger  # noqa: E402
from soaking.sampling import Probe, Row, Sampler, deploy_function, read_samples  # noqa: E402
from soaking.verdict import FEWEST, WARM, Verdict, find_trouble, judge  # noqa: E402
from soaking.work import Hand, Lambdas, OldWorker, Ticks, create_lambdas  # noqa: E402
from soaking.world import REPLICAS, Plan, World  # noqa: E402

from piecework import Client  # noqa: E402

HANDS = 4
ATTEMPTS = 100
"""A client repeats requests for a minute and a half; no fault lasts longer."""
FAULTS_PER_RUN = 60
FAULT_EVERY_S = (4.0, 60.0)
SETTLE_S = 120.0
LOOK_S = 0.2
SAMPLES_MIN = 3 * FEWEST
HOURS_MAX = 168.0
OUT = ROOT / "build" / "soak"


@dataclass(frozen=True)
class Sizes:
    """How long, how much, and with which chances."""

    seconds: float
    seed: int = 1
    pause_s: float = 2.0
    """About so long one of the hands rests after a piece of work."""
    sample_s: float = 5.0
    settle_s: float = SETTLE_S
    """How long the last jobs may take to end."""
    is_calm: bool = False
    """No faults."""

    @property
    def longest_s(self) -> float:
        """When it ends although there are few samples: a busy machine is slow."""
        return 2 * self.seconds + 60


@dataclass
class Soak:
    """What a soak works with; a test may spoil it."""

    world: World
    client: Client
    ledger: Ledger
    hazards: Hazards


def run(
    plan: Plan,
    sizes: Sizes,
    out: Path,
    stop: threading.Event,
    spoil: Callable[[Soak], object] = lambda _: None,
) -> tuple[Verdict, Figures]:
    """Soak until the time is over or ``stop`` is set; return the verdict on what there is then, and figures.

    Raises ProgramError when the programs do not start.
    """
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with ExitStack() as stack:
        world = World(plan)
        stack.callback(world.close)
        hazards = Hazards(world, random.Random(sizes.seed), lambda: time.monotonic() - began, stop)
        client = stack.enter_context(Client(world.server.url, "", attempts=ATTEMPTS))
        lambdas = create_lambdas(client)
        deploy_function(client, guest("capsule_hello"), REPLICAS)
        soak = Soak(world, client, Ledger(), hazards)
        spoil(soak)
        began, began_at = time.monotonic(), datetime.now(UTC)
        with at_work(soak, lambdas, sizes, out / "samples.csv") as sampler:
            if not sizes.is_calm:
                every_s = min(max(sizes.seconds / FAULTS_PER_RUN, FAULT_EVERY_S[0]), FAULT_EVERY_S[1])
                hazards.do_all(sizes.seconds - every_s, every_s)
            while hazards.clock() < sizes.longest_s and not stop.wait(LOOK_S):
                # A machine that took long to start the server anew must not leave too little to look at.
                taken = sampler.count_after(hazards.restarted_s * (1 + WARM))
                if hazards.clock() >= sizes.seconds and taken >= SAMPLES_MIN:
                    break
        figures = describe(soak, hazards.clock())
        world.roots()
    rows = read_samples(out / "samples.csv")
    (out / "soak.svg").write_text(picture(rows, hazards.made))
    said = world.unexpected + find_trouble(sorted(plan.folder.glob("*.log")), hazards.made, began_at)
    return judge(rows, soak.ledger, hazards.made, said), figures


@contextmanager
def at_work(soak: Soak, lambdas: Lambdas, sizes: Sizes, samples: Path) -> Iterator[Sampler]:
    """Have everybody work during a block, and all jobs come to their ends after it. Gives who takes samples."""
    client, ledger = soak.client, soak.ledger
    feed, old = FeedReader(client, ledger), OldWorker(client.url)
    probe = Probe(client, lambdas.upper, ledger, soak.hazards)
    sampler = Sampler(soak.world, client, probe, ledger, soak.hazards, samples, sizes.sample_s)
    hands = [Hand(client, ledger, lambdas, f"{sizes.seed}/{n}", sizes.pause_s) for n in range(HANDS)]
    crew = [sampler, probe, Ticks(client, ledger), *hands]
    for each in (feed, old, *crew):
        each.start()
    try:
        yield sampler
    finally:
        for each in crew:
            each.stopping.set()
        for each in crew:
            each.join()
        ledger.wait(sizes.settle_s)
        for each in (old, feed):
            each.stopping.set()
            each.join()


def describe(soak: Soak, lasted_s: float) -> Figures:
    """Return the figures of a soak."""
    kinds = sorted({fault.kind for fault in soak.hazards.made})
    made = [f"{kind} {sum(fault.kind == kind for fault in soak.hazards.made)}" for kind in kinds]
    return {
        "lasted, minutes": lasted_s / 60,
        "jobs acknowledged": soak.ledger.expected,
        "ended without being acknowledged": soak.ledger.unasked,
        "pieces of work": ", ".join(f"{kind} {count}" for kind, count in sorted(soak.ledger.units.items())),
        "faults": ", ".join(made),
        "left out": soak.world.disk.refusal or "nothing",
    }


def tell(verdict: Verdict, figures: Figures) -> None:
    """Print a verdict."""
    show("Soak", figures)
    table = Table(title="From the middle to the end", title_justify="left")
    for name in ("series", "mean", "growth per hour", "+-", "grown at least", "allowed", ""):
        table.add_column(name, justify="left" if name in {"series", ""} else "right")
    for trend in verdict.trends:
        numbers = (trend.mean, trend.per_hour, trend.bound, trend.grown, trend.allowed)
        mark = "GROWS" if trend.is_too_steep else "ok"
        table.add_row(trend.series, *(f"{number:,.2f}" for number in numbers), mark)
    console = Console(width=110)
    console.print(table)
    for fault in verdict.faults:
        console.print(f"WRONG: {fault}", markup=False, highlight=False)
    console.print("The soak was passed." if not verdict.faults else "The soak was not passed.")


def picture(rows: list[Row], made: list[Fault]) -> str:
    """Return the picture of all samples, with the faults as lines."""
    marks = [(fault.at_s / 60, fault.kind) for fault in made]
    calm = [row for row in rows if not row["fault"]]
    groups = sorted({name.removesuffix("_cpu") for row in rows for name in row if name.endswith("_cpu")})
    times = [f"{name}_{share}" for name in ("job", "call") for share in ("p50", "p99")]

    def panel(title: str, names: list[str], end: str = "", rows: list[Row] = rows) -> Panel:
        curves = {
            name: [(row["at_s"] / 60, row[name + end]) for row in rows if name + end in row] for name in names
        }
        return Panel(title, curves, marks)

    return draw(
        [
            panel("memory, MB", groups, "_mb"),
            panel("open files", groups, "_files"),
            panel("threads", groups, "_threads"),
            panel("CPU, cores", groups, "_cpu"),
            panel("rows of jobs that ended, files of blobs, jobs that have not ended", ["rows", "blobs", "queue"]),
            panel("database, MB", ["database"], "_mb"),
            panel("latency, ms", times, "_ms"),
            panel("latency while no fault is near, ms", times, "_ms", calm),
        ],
        "min",
    )


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0, help="how long; fractions are allowed; 1 unless given")
    parser.add_argument("--seed", type=int, default=1, help="decides work and faults; 1 unless given")
    parser.add_argument("--agents", type=int, default=2, help="two at least, for one lives on; 2 unless given")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite", help="sqlite unless given")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between pieces of work of a hand; 2")
    parser.add_argument("--sample", type=float, default=5.0, help="seconds between samples; 5 unless given")
    parser.add_argument("--calm", action="store_true", help="no faults: to look for growth alone")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for what comes of it; {OUT} unless given")
    given = parser.parse_args(words)
    if not (0 < given.hours <= HOURS_MAX and given.agents >= 2 and given.pause > 0 and given.sample >= 0.5):
        parser.error(
            f"hours: more than 0, at most {HOURS_MAX}; agents: 2 at least; pause: above 0; sample: from 0.5"
        )
    return given


def main() -> None:
    """Soak as the command line says. Exit code 1: the soak was not passed."""
    given, stop = parse(), threading.Event()

    def end(*_: object) -> None:
        print("Ending: the last jobs come to their ends, then there is a verdict. Again: at once.", flush=True)
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    folder = given.out.resolve() / "run"
    shutil.rmtree(folder, ignore_errors=True)
    sizes = Sizes(given.hours * 3600, given.seed, given.pause, given.sample, is_calm=given.calm)
    verdict, figures = run(Plan(folder, given.agents, given.database), sizes, given.out, stop)
    tell(verdict, figures)
    print(f"samples, picture and logs: {given.out}")
    sys.exit(1 if verdict.faults else 0)


if __name__ == "__main__":
    main()
