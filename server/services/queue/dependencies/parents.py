"""What new jobs wait for: reading it from a submission, and storing it with them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobRef, JobSpec, given
from piecework.protocol.names import NAME_RULE, is_name
from piecework.protocol.states import JobState
from piecework.server.errors import InvalidRequest, JobNotFound
from piecework.server.services.queue.dependencies.dependants import AS_INPUT
from piecework.server.services.queue.lifecycle.placing import place
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.dependencies import dependencies, groups
from piecework.server.store.queue.dependencies.relations import Edge, Settling
from piecework.server.store.records import NewJob

NEEDS_MAX = 10_000
"""Jobs that one job may wait for."""
FILES_MAX = 100
"""Files that one job may get from others."""
EDGES_MAX = 100_000
"""Dependencies in one submission."""
SHOWN_MAX = 10
"""Jobs of a circle that an error names."""
_HERE = "@"
"""What begins a reference to a job of the same submission."""


class Need(NamedTuple):
    """Something that a job waits for, as it was submitted."""

    ref: str
    """An id, or ``@`` with the position or the label of a job in the same submission."""
    name: str = ""
    """Of the file that the job gets; ``-``: its input; empty: nothing."""


def read_needs(spec: JobSpec) -> tuple[Need, ...]:
    """Return what a job waits for, but for its input. Raises InvalidRequest that says what is wrong."""
    after, files = given(spec.after) or (), given(spec.inputs) or {}
    if len(after) + len(files) > NEEDS_MAX:
        raise InvalidRequest(f"a job waits for {len(after) + len(files)} others; at most {NEEDS_MAX} are taken")
    if len(files) > FILES_MAX:
        raise InvalidRequest(f"`inputs` has {len(files)} files; at most {FILES_MAX} are taken")
    for name in files:
        if not is_name(name) or name.startswith(("-", ".")):
            rule = f"{NAME_RULE}, and begins with none of - and ."
            raise InvalidRequest(f"`inputs` has the file {name[:200]!r}: {rule}")
    named = {read_job_ref(ref, "inputs"): name for name, ref in files.items()}
    if len(named) < len(files):
        raise InvalidRequest("`inputs` has one job's output twice: one name for it is enough")
    waited = dict.fromkeys(read_job_ref(ref, "after") for ref in after)
    return (*(Need(ref) for ref in waited if ref not in named), *(Need(*item) for item in named.items()))


def read_input(spec: JobSpec) -> Need | None:
    """Return whose output is to be a job's input; None when that comes from elsewhere. Raises InvalidRequest."""
    content = spec.input
    if not isinstance(content, Content) or content.job is UNSET:
        return None
    if content.is_inline or content.id is not UNSET:
        raise InvalidRequest("the input is wrong: beside `job` there is another one")
    return Need(read_job_ref(content.job, "input"), AS_INPUT)


def read_job_ref(ref: JobRef, where: str) -> str:
    """Return how a job is named, as ``Need.ref`` has it. Raises InvalidRequest."""
    text = str(ref)
    if text.startswith(_HERE) and len(text) > 1:
        return text
    try:
        return str(int(Id.parse(text)))
    except ValueError as error:
        raise InvalidRequest(
            f"`{where}` is wrong: {error}; jobs of the same submission are @0, @1, … or @label"
        ) from error


def read_labels(specs: Sequence[JobSpec]) -> dict[str, int]:
    """Return the positions of jobs that have labels. Raises InvalidRequest."""
    labels: dict[str, int] = {}
    for place_, spec in enumerate(specs):
        label = spec.label
        if label is UNSET or label is None:
            continue
        if not is_name(label) or label.isdigit():
            raise InvalidRequest(f"the label {label[:200]!r} is wrong: {NAME_RULE}, and is no number")
        if label in labels:
            raise InvalidRequest(f"jobs {labels[label]} and {place_} both have the label {label!r}")
        labels[label] = place_
    return labels


def check_order(needs: Sequence[Sequence[Need]], labels: Mapping[str, int]) -> None:
    """Raise InvalidRequest when jobs wait for each other, for one that is not there, or for too many."""
    total = sum(map(len, needs))
    if not total:
        return
    if total > EDGES_MAX:
        raise InvalidRequest(f"the jobs wait for {total} others together; one submission takes {EDGES_MAX}")
    parents = {
        number: found
        for number, mine in enumerate(needs)
        if (found := {_find_place(each.ref, labels, len(needs)) for each in mine if each.ref[0] == _HERE})
    }
    children = Counter(parent for found in parents.values() for parent in found)
    ready = [number for number in parents if not children[number]]
    while ready:  # take away those for which nobody waits, again and again; in a circle, somebody always does
        for parent in parents.pop(ready.pop()):
            children[parent] -= 1
            if not children[parent] and parent in parents:
                ready.append(parent)
    if parents:
        raise InvalidRequest(_describe_circle(parents))


def _find_place(ref: str, labels: Mapping[str, int], count: int) -> int:
    """Return the position of a job that is named by it, or by its label."""
    text = ref.removeprefix(_HERE)
    if text.isdecimal() and text.isascii():
        if int(text[:10]) >= count:
            raise InvalidRequest(f"a job waits for {ref[:20]}, but the last of this submission is @{count - 1}")
        return int(text)
    if text not in labels:
        raise InvalidRequest(f"a job waits for {ref[:200]!r}, but no job of this submission has that label")
    return labels[text]


def _describe_circle(parents: Mapping[int, Iterable[int]]) -> str:
    way = [min(parents)]
    while (following := min(each for each in parents[way[-1]] if each in parents)) not in way:
        way.append(following)
    circle = [*way[way.index(following) :], following]
    shown = [f"@{number}" for number in circle[:SHOWN_MAX]] + ["…"] * (len(circle) > SHOWN_MAX)
    if len(circle) == 2:
        return f"job {shown[0]} waits for itself"
    return f"jobs wait for each other: {' waits for '.join(shown)}"


def connect(
    connection: Connection,
    new: Sequence[NewJob],
    needs: Sequence[Sequence[Need]],
    ids: Sequence[int],
    labels: Mapping[str, int],
    changes: Changes,
    now: int,
) -> list[NewJob]:
    """Let new jobs wait for what they need, as far as that has not ended; each has its needs beside it.

    ``ids``: of all jobs of the submission. Returns the jobs as they are to be stored. Raises JobNotFound.
    """
    wanted = [_edges(job, mine, ids, labels) for job, mine in zip(new, needs, strict=True)]
    own = {job.id for job in new}
    outside = {edge.parent_id for mine in wanted for edge in mine} - own
    dependencies.mark_awaited(connection, outside)
    ends = dependencies.lock_ends(connection, outside)
    if missing := outside - ends.keys():
        raise JobNotFound(f"there is no job or group {min(missing)}, which a job is to wait for")
    wanted_of = {edge.parent_id for mine in wanted for edge in mine if edge.name}
    unwritten = (id_ for id_ in sorted(wanted_of & ends.keys()) if _lacks_output(ends[id_]))
    undone = {id_ for id_ in unwritten if groups.reopen_group(connection, id_)}  # now somebody wants their results
    ends = {id_: end for id_, end in ends.items() if id_ not in undone}
    placed: list[NewJob] = []
    stored: list[Edge] = []
    failed: dict[int, Settling] = {}
    for job, mine in zip(new, wanted, strict=True):
        runs = job.options is not None and job.options.on_failure == "run"
        edges = [_meet(edge, ends.get(edge.parent_id), runs=runs) for edge in mine]
        waiting = [edge for edge in edges if edge.state == "open"]
        failed |= {edge.parent_id: ends[edge.parent_id] for edge in waiting if _has_ended(ends, edge.parent_id)}
        placed.append(_place(job, edges, len(waiting), now) if mine else job)
        stored += edges
    dependencies.add_edges(connection, stored)
    dependencies.add_settlings(connection, [failed[id_] for id_ in sorted(failed)])
    changes.groups |= undone
    changes.has_rest |= bool(failed)
    awaited = {edge.parent_id for edge in stored}
    return [job._replace(awaited=True) if job.id in awaited else job for job in placed]


def find_parent(ref: str, ids: Sequence[int], labels: Mapping[str, int]) -> int:
    """Return the job that is named; ``ids`` and ``labels``: of all jobs of the submission."""
    return ids[_find_place(ref, labels, len(ids))] if ref[0] == _HERE else int(ref)


def _edges(job: NewJob, needs: Sequence[Need], ids: Sequence[int], labels: Mapping[str, int]) -> list[Edge]:
    """Return the dependencies of one job, each once."""
    edges: dict[tuple[int, str], Edge] = {}
    for ref, name in needs:
        parent = find_parent(ref, ids, labels)
        edges[parent, name] = Edge(job.id, parent, name)
    giving = {parent for parent, name in edges if name}
    return [edge for (parent, name), edge in edges.items() if name or parent not in giving]


def _meet(edge: Edge, end: Settling | None, *, runs: bool) -> Edge:
    """Return how a new dependency stands on something that may have ended already."""
    if end is None or not end.state.is_final:
        return edge
    finished = end.state is JobState.FINISHED
    if not finished and not runs:
        return edge
    output_id = end.output_id or (0 if finished else None)
    return edge._replace(state="done", blob_id=output_id if edge.name else None)


def _lacks_output(end: Settling) -> bool:
    return end.state.is_final and end.output_id is None


def _has_ended(ends: Mapping[int, Settling], id_: int) -> bool:
    return id_ in ends and ends[id_].state.is_final


def _place(job: NewJob, edges: Sequence[Edge], pending: int, now: int) -> NewJob:
    given_ = [edge.blob_id for edge in edges if edge.name == AS_INPUT and edge.blob_id]
    placed = job._replace(pending=pending, input_id=given_[0] if given_ else job.input_id)
    if job.state is JobState.PAUSED:
        return placed
    goes = place(placed, now)
    return placed._replace(state=goes.state, due_at=goes.due_at, waits=goes.waits)
