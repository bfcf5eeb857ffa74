"""What the project aims at, and what was measured of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.summary import Summary, fastest_other, ratio, summarise
from harness.tables import Table, number
from harness.work import CPU_S


@dataclass(frozen=True)
class Aim:
    """One figure with its aim."""

    figure: str
    unit: str
    at_least: bool
    """Whether more is better."""
    aim: float
    dream: float
    """What would be splendid."""
    value: float | None
    """What was measured; None: nothing yet."""

    @property
    def verdict(self) -> str:
        """Say whether it is met."""
        if self.value is None:
            return "not measured"
        if self._meets(self.dream):
            return "met, and the dream"
        return "met" if self._meets(self.aim) else "missed"

    def _meets(self, bound: float) -> bool:
        assert self.value is not None
        return self.value >= bound if self.at_least else self.value <= bound

    def row(self) -> list[str]:
        """Return the row of a table."""
        sign = "≥" if self.at_least else "≤"
        shown = "" if self.value is None else f"{number(self.value)}{self.unit}"
        bounds = (f"{sign} {bound:g}{self.unit}" for bound in (self.aim, self.dream))
        return [self.figure, *bounds, shown, self.verdict]


def aims_table(comparison: Mapping[str, Any], long_run: Mapping[str, Any], parts: Mapping[str, Any]) -> Table:
    """Return every aim with its figure, from two results of ``compare.py`` and the parts of ``scale.py``."""
    aims = (*from_comparison(comparison), *from_long_run(long_run), *from_scale(parts))
    rows = [aim.row() for aim in aims]
    return Table("Aims", ["figure", "aim", "dream", "measured", ""], rows, words=frozenset({""}))


def from_comparison(results: Mapping[str, Any]) -> Iterator[Aim]:
    """Go through the aims that the comparison shows."""
    summaries = summarise(results["runs"])
    found = {each.name: each for each in summaries}
    ours, fastest = found.get("piecework"), fastest_other(summaries)
    ideal = results["about"]["cores"] / CPU_S
    yield Aim("no-ops, of the fastest other queue", "x", True, 2.7, 4, _of(ours, fastest))
    called = _of(found.get("piecework-called"), fastest)
    yield Aim("no-ops that are called as a library, likewise", "x", True, 3, 6, called)
    p50_ms = ours.p50_ms.median if ours and ours.p50_ms else None
    yield Aim("one job at a time, submit to result, p50", " ms", False, 2, 1.2, p50_ms)
    yield Aim("v0.5 clients, of celery", "x", True, 0.6, 1, _of(found.get("piecework-v05"), found.get("celery")))
    on_postgres = _of(found.get("piecework-postgres"), found.get("pgqueuer"))
    yield Aim("two servers on PostgreSQL, of pgqueuer", "x", True, 2, 3, on_postgres)
    efficiency = ours.cpu.median / ideal * 100 if ours and ours.cpu else None
    yield Aim("10 ms jobs, of what the cores could do", " %", True, 95, 97, efficiency)


def from_long_run(results: Mapping[str, Any]) -> Iterator[Aim]:
    """Go through the aims that a comparison of longer runs shows, in which queues of Node.js take part."""
    summaries = summarise(results["runs"])
    ours = next(each for each in summaries if each.name == "piecework")
    count = f"{results['sizes']['jobs']:,}"
    fastest = _of(ours, fastest_other(summaries))
    yield Aim(f"{count} no-ops, of the fastest other queue", "x", True, 1.6, 2, fastest)
    idle = None if ours.idle is None else ours.idle * 100
    yield Aim(f"{count} no-ops, cores that are idle", " %", False, 8, 4, idle)
    yield Aim(f"{count} no-ops, CPU time of each", " µs", False, 150, 120, sum(ours.cpu_us.values()))


def _of(summary: Summary | None, to: Summary | None) -> float | None:
    return ratio(summary, to) if summary else None


def from_scale(parts: Mapping[str, Any]) -> Iterator[Aim]:
    """Go through the aims that the measurements of scale show."""
    rows = {name: part["rows"] for name, part in parts.items()}
    by_depth = {row["depth"]: row["direct_us"] for row in rows.get("depth", [])}
    for jobs in ("1", "100"):
        deep, flat = (by_depth.get(depth, {}).get(jobs) for depth in (1_000_000, 1_000))
        cost = deep / flat if deep and flat else None
        yield Aim(f"claim of {jobs} at 1,000,000 enqueued, of that at 1,000", "x", False, 1.2, 1, cost)
    by_agents = {row["agents"]: row["server_mb"] for row in rows.get("agents", [])}
    yield Aim("server with 1,000 connected agents", " MB", False, 150, 125, by_agents.get(1_000))
    starts = {row["figure"]: row["median"] for row in rows.get("starts", [])}
    yield Aim("agent at rest", " MB", False, 60, 40, starts.get("agent: MB at rest"))
    yield Aim("server: ready after", " s", False, 0.6, 0.4, starts.get("server: ready after s"))
    yield Aim("agent: first result after", " s", False, 0.3, 0.2, starts.get("agent: first result after s"))
