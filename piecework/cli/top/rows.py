"""The tables of `piecework top`: what stands in them, and by what they can be sorted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from piecework.cli.screen.endings import outlook
from piecework.cli.screen.figures import format_age
from piecework.cli.screen.tables import to_text
from piecework.cli.top.snapshot import Snapshot
from piecework.protocol.ids import Id
from piecework.protocol.messages import given
from piecework.protocol.states import FINAL_STATES, JobState
from piecework.text.durations import format_duration


class Row(NamedTuple):
    """One line of a table."""

    key: str
    """What tells it from the others: it stays selected while the table changes."""
    cells: Sequence[str]
    order: Sequence[Any]
    """What each column is sorted by."""
    wish: str = ""
    """What jobs of it are asked for by."""


@dataclass(frozen=True)
class Tab:
    """One of the tables."""

    name: str
    columns: Sequence[str]
    read: Callable[[Snapshot], list[Row]]
    falling: Sequence[int]
    """Columns whose largest values are the interesting ones."""
    first: int
    """The column that it is sorted by at first."""


def _lanes(snapshot: Snapshot) -> list[Row]:
    now, rows = snapshot.status.at, []
    for each in snapshot.status.lanes:
        oldest = given(each.oldest_at)
        tenant, tags, why = given(each.tenant) or "", " ".join(each.tags), given(each.waits) or ""
        cells = [each.runtime, tags, tenant, f"{each.enqueued:,}", f"{each.running:,}", _age(oldest, now), why]
        order = [each.runtime, tags, tenant, each.enqueued, each.running, now - (oldest or now), why]
        rows.append(Row(f"{each.runtime} {tags} {tenant}", list(map(to_text, cells)), order))
    return rows


def _lambdas(snapshot: Snapshot) -> list[Row]:
    rows = []
    for each in snapshot.stats.lambdas:
        id_ = given(each.lambda_)
        name = given(each.lambda_name) or (str(id_) if id_ else "all others")
        ended = each.finished + each.failed
        share = each.failed / ended if ended else 0.0
        times = [given(each.wait.p50_s), given(each.wait.p99_s), given(each.run.p50_s), given(each.run.p99_s)]
        cells = [name, f"{each.submitted:,}", f"{each.finished:,}", f"{each.failed:,}", f"{share:.0%}"]
        order = [name, each.submitted, each.finished, each.failed, share, *(time or 0.0 for time in times)]
        cells += ["" if time is None else format_duration(time) for time in times]
        pinned = f"{each.lambda_name}@{id_}" if given(each.lambda_name) else str(id_ or "")
        rows.append(Row(f"lambda {id_}", list(map(to_text, cells)), order, pinned))
    return rows


def _workers(snapshot: Snapshot) -> list[Row]:
    now, rows = snapshot.status.at, []
    for each in snapshot.workers:
        state, running, slots = str(given(each.state) or ""), given(each.running) or 0, given(each.slots) or 1
        held = " ".join(str(id_)[-8:] for id_ in snapshot.held.get(each.id, ())[:4])
        seen = given(each.seen_at)
        what = given(each.trouble) or held
        cells = [
            given(each.name) or "",
            state,
            f"{running}/{slots}",
            _age(seen, now),
            " ".join(each.runtime),
            what,
        ]
        order = [cells[0], state, running, now - (seen or now), cells[4], what]
        rows.append(Row(str(each.id), list(map(to_text, cells)), order, str(each.id)))
    return rows


def _jobs(snapshot: Snapshot) -> list[Row]:
    now, rows = snapshot.status.at, []
    names = {each.id: given(each.name) or "" for each in snapshot.workers}
    for each in snapshot.jobs:
        name = each.lambda_.name or str(each.lambda_.id)
        error = given(each.error)
        why = f"{error.kind}: {error.message}" if error else given(each.advice) or outlook(each, now)
        is_at_work = each.state is JobState.RUNNING or each.state in FINAL_STATES
        worker = given(each.worker) if is_at_work else None
        where = names.get(worker, str(worker)[-8:]) if isinstance(worker, Id) else ""
        took = _took(given(each.started_at), given(each.finished_at), now) if is_at_work else None
        cells = [str(each.id)[-8:], each.state.value, name, where, format_age(each.created_at, now)]
        cells += ["" if took is None else format_duration(took), why]
        order = [int(each.id), each.state.value, name, where, now - each.created_at, took or 0.0, why]
        rows.append(Row(str(each.id), list(map(to_text, cells)), order))
    return rows


def _took(started: float | None, finished: float | None, now: float) -> float | None:
    return None if started is None else max(0.0, (finished or now) - started)


def _age(at: float | None, now: float) -> str:
    return "" if at is None else format_duration(max(0.0, now - at))


TABS = (
    Tab(
        "lanes", ["runtime", "tags", "tenant", "ready", "running", "oldest", "why it waits"], _lanes, [3, 4, 5], 3
    ),
    Tab(
        "lambdas",
        ["lambda", "submitted/h", "finished/h", "failed/h", "share", "wait p50", "wait p99", "run p50", "run p99"],
        _lambdas,
        [1, 2, 3, 4, 5, 6, 7, 8],
        1,
    ),
    Tab("workers", ["worker", "state", "runs", "seen", "runtimes", "trouble, or jobs"], _workers, [2], 0),
    Tab("jobs", ["job", "state", "lambda", "worker", "submitted", "took", "why"], _jobs, [0, 5], 0),
)
JOBS = 3
"""The tab of jobs."""
JOB_STATES: tuple[str | None, ...] = (
    None, "running", "enqueued", "waiting", "paused", "failed", "cancelled", "finished",
)  # fmt: skip
"""Which jobs are shown, in turn; None: all."""
STOPPABLE = frozenset({JobState.WAITING, JobState.ENQUEUED, JobState.RUNNING, JobState.PAUSED})
