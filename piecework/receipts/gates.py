"""Gates: recorded calls, replayed against new code, and whether what came of them is let through."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import GateEvidence, GateFinding, GateKind, GatePolicy
from piecework.protocol.messages.gates import FINDINGS_MAX, MESSAGE_MAX

KINDS: dict[str, GateKind] = {kind: kind for kind in get_args(GateKind)}
STATUS_KINDS: frozenset[GateKind] = frozenset({"calls", "failure", "recovery", "exit code", "status"})
"""Findings about how a run ended, not about what came out."""


class GateQuestion(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What is asked of the program that replays calls."""

    job: Id
    """Which job it was, or which recorded call."""
    path: str
    """The file with its bundle, or with the recorded call."""
    memory_then: int | None = None
    """Bytes of memory that it used then; None: that is not known."""


class GateRun(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One recorded call, replayed against new code."""

    job: Id
    """Or the recorded call."""
    kind: GateKind | Literal["identical", "unclear", "skipped"]
    message: str = ""
    byte: int | None = None
    fuel_then: int | None = None
    fuel_now: int | None = None
    memory_then: int | None = None
    memory_now: int | None = None
    engine: str = ""


class GateBounds(msgspec.Struct, kw_only=True, frozen=True):
    """What a gate lets through."""

    policy: GatePolicy = "identical"
    fuel_percent: float | None = None
    """So much more fuel may be used by all runs together; None: any."""
    memory_percent: float | None = None


def sum_runs(
    old: Id,
    checksum: str,
    runtime: str,
    runs: Sequence[GateRun],
    bounds: GateBounds,
    function: str | None = None,
) -> GateEvidence:
    """Say what came of all runs, and whether they pass. Without a run that was compared, they do not.

    ``function``: whose recorded calls they are, as ``function/revision``; None: they are jobs of the old lambda.
    """
    found = [(run, KINDS[run.kind]) for run in runs if run.kind in KINDS]
    counts = Counter(run.kind for run in runs)
    compared = len(found) + counts["identical"]
    fuel, memory = _add_pairs(runs, "fuel"), _add_pairs(runs, "memory")
    why = [] if compared else ["no call could be compared"]
    refused = [kind for _, kind in found if bounds.policy == "identical" or kind in STATUS_KINDS]
    if refused and bounds.policy != "report":
        why.append(f"{len(refused)} of {compared} calls did not come to what {bounds.policy!r} asks for")
    why += _find_excess("fuel", fuel, bounds.fuel_percent) + _find_excess("memory", memory, bounds.memory_percent)
    return GateEvidence(
        old=old,
        function=function or UNSET,
        checksum=checksum,
        runtime=runtime,
        policy=bounds.policy,
        passed=not why,
        why=why,
        compared=compared,
        identical=counts["identical"],
        calls=counts["calls"],
        failures=counts["failure"],
        recoveries=counts["recovery"],
        exit_codes=counts["exit code"],
        statuses=counts["status"],
        outputs=counts["output"],
        files=counts["files"],
        unclear=counts["unclear"],
        skipped=counts["skipped"],
        fuel_then=UNSET if fuel is None else fuel[0],
        fuel_now=UNSET if fuel is None else fuel[1],
        memory_then=UNSET if memory is None else memory[0],
        memory_now=UNSET if memory is None else memory[1],
        engine=next((run.engine for run in runs if run.engine), ""),
        findings=[
            GateFinding(job=run.job, kind=kind, message=shorten(run.message), byte=run.byte)
            for run, kind in found[:FINDINGS_MAX]
        ],
    )


def _find_excess(what: str, pair: tuple[int, int] | None, most: float | None) -> list[str]:
    """Say that more is used than may be; nothing when it is not."""
    if most is None or pair is None or (more := find_rise(*pair)) <= most:
        return []
    return [f"it uses {more:.1f} % more {what}, {most:g} % were allowed"]


def find_rise(then: int, now: int) -> float:
    """Return by how many percent something grew; what was nothing and is something grew by 100."""
    return 100.0 * (now - then) / then if then else 100.0 * bool(now)


def shorten(message: str) -> str:
    """Return so much of a message as is kept."""
    return message if len(message) <= MESSAGE_MAX else f"{message[: MESSAGE_MAX - 1]}…"


def _add_pairs(runs: Sequence[GateRun], what: str) -> tuple[int, int] | None:
    """Return the sums of what those runs used that tell it of both sides."""
    pairs = [(getattr(run, f"{what}_then"), getattr(run, f"{what}_now")) for run in runs]
    told = [(then, now) for then, now in pairs if then is not None and now is not None]
    return (sum(then for then, _ in told), sum(now for _, now in told)) if told else None
