"""Functions and their revisions as rows, columns and fields."""

import time
from collections import Counter

import msgspec

from piecework.cli.screen.display import Display
from piecework.cli.screen.figures import format_age, format_ms
from piecework.cli.screen.gate_rows import list_findings, summarize
from piecework.client.functions.functions import why_not_ready
from piecework.protocol.messages import FunctionInfo, ReplicaInfo, ReplicaState, RevisionInfo, Traffic, given

REVISION_COLUMNS = (
    "revision",
    "calls go",
    "replicas",
    "calls",
    "errors",
    "p50",
    "p99",
    "code",
    "created",
    "remark",
)
UNRECORDED = {
    "secrets": "that carry what looks secret (--record-with NAME keeps those with this header or parameter)",
    "size": "that are too large",
    "haste": "while others had just been recorded",
}
"""Calls that are not recorded, by the reason."""
REPLICA_COLUMNS = ("replica", "worker", "state", "since", "pid", "calls", "errors", "p50", "p99", "url", "error")


def revision_row(revision: RevisionInfo, now: float) -> tuple[object, ...]:
    """Return the cells under REVISION_COLUMNS."""
    traffic = _traffic(revision)
    return (
        revision.name,
        format_share(revision.share),
        describe_replicas(revision),
        traffic.calls or "",
        traffic.errors or "",
        format_ms(traffic.p50_ms),
        format_ms(traffic.p99_ms),
        describe_code(revision),
        format_age(revision.created_at, now),
        _remark(revision),
    )


def show_function(display: Display, info: FunctionInfo) -> None:
    """Print everything about a function."""
    display.fields(describe_function(info) | {"created": format_age(info.created_at, time.time())})
    for revision in info.revisions:
        display.line("")
        display.fields(_describe_revision(revision))
        if revision.replicas:
            rows = [_replica_row(each) for each in revision.replicas]
            display.table(REPLICA_COLUMNS, rows, less=["pid", "p50", "since", "calls", "errors", "p99"])


def describe_function(info: FunctionInfo) -> dict[str, object]:
    """Return the fields that tell where a function's calls go, and how many replicas run."""
    shares = {each.name: format_share(each.share) for each in info.revisions if each.share}
    return {
        "function": info.name,
        "calls go to": ", ".join(f"{name} {share}" for name, share in shares.items())
        or "no revision by themselves",
        **{each.name: describe_replicas(each) for each in info.revisions},
    }


def describe_replicas(revision: RevisionInfo) -> str:
    """Say how many replicas run of how many that should, or what answers instead."""
    urls = len(revision.urls)
    named = "" if not urls else "1 URL" if urls == 1 else f"{urls} URLs"
    if isinstance(revision.lambda_, msgspec.UnsetType):
        return named or "no URL"
    running = sum(each.state is ReplicaState.RUNNING for each in revision.replicas)
    counted = f"{running} of {revision.wanted}" if revision.wanted or revision.replicas else "as jobs"
    return f"{counted}, {named}" if named else counted


def describe_code(revision: RevisionInfo) -> str:
    """Return the module without its digest, or the beginning of the digest."""
    if isinstance(revision.module, str):
        return revision.module.partition("@")[0]
    return f"sha256:{revision.checksum[:12]}" if isinstance(revision.checksum, str) else ""


def format_share(share: float) -> str:
    """Return a share of the calls that name no revision; "" for none."""
    return f"{share * 100:.3g} %" if share else ""


def _traffic(revision: RevisionInfo) -> Traffic:
    """Return what passed the server or, when nothing did, what the replicas tell: of latencies the worst."""
    if isinstance(revision.traffic, Traffic):
        return revision.traffic
    replicas = revision.replicas
    return Traffic(
        calls=sum(each.calls for each in replicas),
        errors=sum(each.errors for each in replicas),
        p50_ms=max((each.p50_ms for each in replicas if isinstance(each.p50_ms, float)), default=None),
        p99_ms=max((each.p99_ms for each in replicas if isinstance(each.p99_ms, float)), default=None),
    )


def _remark(revision: RevisionInfo) -> str:
    """Say what keeps replicas from running, and calls from URLs; "" when nothing is known."""
    aside = revision.set_aside.items() if isinstance(revision.set_aside, dict) else ()
    reasons = [why_not_ready(revision), *(f"{url} is set aside: {why}" for url, why in aside)]
    return "; ".join(filter(None, reasons))


def _describe_revision(revision: RevisionInfo) -> dict[str, object]:
    traffic = _traffic(revision)
    return {
        "revision": revision.name,
        "calls go": format_share(revision.share),
        "replicas": describe_replicas(revision),
        "remark": _remark(revision),
        "module": revision.module,
        "pulled from": revision.source,
        "code SHA-256": revision.checksum,
        "lambda": revision.lambda_,
        "runtime": revision.runtime,
        "args": revision.args,
        "env": [f"{name}={value}" for name, value in revision.env.items()] if revision.env else None,
        "tags": revision.tags,
        "limits": describe_pairs(revision.limits),
        "grants": describe_pairs(revision.grants),
        "URLs": revision.urls,
        **_describe_records(revision),
        "calls": traffic.calls or None,
        "errors": traffic.errors or None,
        "as jobs": traffic.jobs or None,
        "p50": format_ms(traffic.p50_ms),
        "p99": format_ms(traffic.p99_ms),
        "created": format_age(revision.created_at, time.time()),
    }


def tell_unrecorded(revision: RevisionInfo) -> str | None:
    """Say which calls were not recorded although it was their turn; None when there are none."""
    counts: Counter[str] = Counter()
    for replica in revision.replicas:
        counts.update(given(replica.unrecorded) or {})
    told = [f"{count} {UNRECORDED.get(reason, reason)}" for reason, count in counts.items()]
    traffic = given(revision.traffic)
    if traffic is not None and traffic.jobs:
        told.append(f"{traffic.jobs} that ran as jobs")
    return "; ".join(told) or None


def _describe_records(revision: RevisionInfo) -> dict[str, object]:
    """Return what is recorded of a revision's calls, and what a gate found when it was deployed."""
    recording, gate = given(revision.record), given(revision.gate)
    return {
        "recorded": None
        if recording is None
        else f"{format_share(recording.share)} of the calls, {given(revision.recorded) or 0} are kept",
        "not recorded": None if recording is None else tell_unrecorded(revision),
        "also with": None if recording is None else recording.kept,
        "gate": None if gate is None else summarize(gate),
        **list_findings(revision.gate),
    }


def _replica_row(replica: ReplicaInfo) -> tuple[object, ...]:
    return (
        replica.id,
        replica.worker_name,
        replica.state,
        format_age(replica.since, time.time()),
        replica.pid,
        replica.calls,
        replica.errors,
        format_ms(replica.p50_ms),
        format_ms(replica.p99_ms),
        replica.url,
        replica.error,
    )


def describe_pairs(record: msgspec.Struct | msgspec.UnsetType) -> str | None:
    """Return the fields of limits or grants on one line."""
    if isinstance(record, msgspec.UnsetType):
        return None
    return ", ".join(f"{name} {value}" for name, value in msgspec.to_builtins(record).items())
