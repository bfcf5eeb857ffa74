"""The comparison's tables, from the runs that ``compare.py`` stored."""

from collections.abc import Sequence
from typing import Any

from harness.field import FIELD
from harness.rounds import Run
from harness.summary import OURS, Spread, Summary, fastest_other, ratio, summarise
from harness.tables import Table, number, percent
from harness.work import CPU_S


def speed_table(results: dict[str, Any]) -> Table:
    """Who is how fast, fastest first."""
    summaries = summarise(results["runs"])
    fastest = fastest_other(summaries)
    ideal = results["about"]["cores"] / CPU_S
    columns = ["queue", "no-ops/s", "(range)", "cores idle", "of the fastest other", "one job p50 ms", "p99 ms"]
    columns += ["10 ms jobs/s", "of ideal", "cores idle", "wrong"]
    title = (
        f"{results['sizes']['jobs']} no-ops of 64 bytes, {results['sizes']['singles']} one by one, "
        f"{results['sizes']['cpu_jobs']} of 10 ms; medians of {results['sizes']['rounds']} interleaved rounds"
    )
    return Table(title, columns, [_speed_row(each, fastest, ideal) for each in summaries])


def _speed_row(each: Summary, fastest: Summary | None, ideal: float) -> list[str]:
    if each.noop is None:
        return [each.name, "did not run", *[""] * 9]
    times = ratio(each, fastest)
    return [
        each.name,
        number(each.noop.median),
        _range(each.noop),
        percent(each.idle),
        "" if times is None else f"{times:.2f}x",
        number(each.p50_ms.median if each.p50_ms else None),
        number(each.p99_ms.median if each.p99_ms else None),
        number(each.cpu.median if each.cpu else None),
        percent(each.cpu.median / ideal if each.cpu else None),
        percent(each.cpu_idle),
        str(each.wrong),
    ]


def _range(spread: Spread) -> str:
    return f"{number(spread.low)} - {number(spread.high)}"


def cost_table(results: dict[str, Any]) -> Table:
    """Where the CPU time of a no-op goes."""
    summaries = [each for each in summarise(results["runs"]) if each.noop]
    parts = ("submitter", "server", "agents", "workers", "backend")
    rows = []
    for each in summaries:
        cells = [number(each.cpu_us[part]) if part in each.cpu_us else "" for part in parts]
        rows.append([each.name, *cells, number(sum(each.cpu_us.values()))])
    return Table("CPU time of one no-op, µs", ["queue", *parts, "sum"], rows)


def setup_table(results: dict[str, Any]) -> Table:
    """How each was run."""
    columns = ["queue", "versions", "set-up", "a power cut"]
    names = [name for name in FIELD if any(run["name"] == name for run in results["runs"])]
    rows = [[name, _versions(results["runs"], name), FIELD[name].setup, FIELD[name].durability] for name in names]
    return Table("How each was run", columns, rows, words=frozenset(columns))


def _versions(runs: Sequence[Run], name: str) -> str:
    for run in runs:
        if run["name"] == name and "error" not in run:
            return ", ".join(f"{what} {version}" for what, version in (run["versions"] | run["backend"]).items())
    return ""


def failures(results: dict[str, Any]) -> list[str]:
    """Return a line for each contestant that failed in some rounds, or gave wrong answers in some."""
    lines = []
    for each in summarise(results["runs"]):
        if each.error:
            lines.append(f"{each.name}: {results['sizes']['rounds'] - each.rounds} runs failed: {each.error}")
        if each.wrong:
            lines.append(f"{each.name}: {each.wrong} wrong or missing answers")
    return lines


def is_ours(name: str) -> bool:
    """Tell whether a contestant is a set-up of Piecework."""
    return name.startswith(OURS)
