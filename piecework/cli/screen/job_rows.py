"""A job as fields for people: what it is, what it runs with, how it fared."""

import shlex
from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from piecework.cli.screen.endings import reason, took, usual
from piecework.cli.screen.figures import format_age, format_bytes, format_stay
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Backoff,
    Content,
    Digests,
    JobFile,
    JobInfo,
    Limits,
    Maybe,
    Usage,
    blob_id,
    given,
)
from piecework.text.durations import format_duration

FILES_SHOWN = 20


_VERIFIED = {None: None, True: "others agreed", False: "nobody else was asked: its worker's owner was believed"}
"""How a job stands with ``verify``."""


def describe_job(info: JobInfo, now: float) -> dict[str, object]:
    """Return all that is known of a job, by the words that stand before it."""
    return {
        "id": info.id,
        "state": info.state,
        "reason": reason(info),
        **_describe_origin(info),
        **_describe_terms(info),
        **_describe_life(info, now),
        "used": None if isinstance(info.usage, UnsetType) else _describe_usage(info.usage),
        **_describe_digests(None if isinstance(info.usage, UnsetType) else info.usage.digests),
    }


def name_lambda(info: JobInfo) -> Id | str:
    """Return what people call a job's lambda: its name, or its id when it has none."""
    return info.lambda_.name or info.lambda_.id


def _describe_origin(info: JobInfo) -> dict[str, object]:
    """Return the rows about what runs, on what, and who wanted it."""
    lambda_ = info.lambda_
    return {
        "lambda": f"{lambda_.name}@{lambda_.id}" if lambda_.name else lambda_.id,
        "runtime": lambda_.runtime,
        "input": _describe_blob(info.input, info.input_size, info.input_name),
        "output": _describe_blob(info.output, info.output_size),
        "failed output": _describe_blob(Content(id=given(info.failed_output) or Id(0)), info.output_size),
        "submitted by": info.submitter,
        "schedule": info.schedule,
        "key": info.key,
        "agreement": _VERIFIED[given(info.verified)],
        "receipt": "required" if info.receipts is True else None,
        "answered with": None if isinstance(info.recalled, UnsetType) else f"the result of job {info.recalled}",
        "replays": None if isinstance(info.replays, UnsetType) else f"job {info.replays}",
        "runs again": info.retry_of,
        "run again as": info.run_again_as,
        "concurrency key": info.concurrency_key,
        "rate key": info.rate_key,
        "tenant": info.tenant,
        "group": info.group,
        "on end": info.on_end,
        "after": " ".join(map(str, given(info.after) or ())) or None,
        "gets": _describe_sources(info),
        "files": _list_files(info.files),
        "gives back": given(info.outputs) or None,
        "gave back": _list_files(info.made),
        "journal": given(info.journal),
    }


def _describe_terms(info: JobInfo) -> dict[str, object]:
    """Return the rows about what it runs with, and where it may run."""
    return {
        "args": shlex.join(info.args) if info.args else None,
        "env": [f"{name}={value}" for name, value in info.env.items()] if info.env else None,
        **_describe_limits(info.limits),
        "tags": info.tags,
        "priority": info.priority or None,
    }


def _describe_life(info: JobInfo, now: float) -> dict[str, object]:
    """Return the rows about its attempts, and when what happened or will."""
    return {
        "attempts": describe_attempts(info),
        "backoff": None if isinstance(info.backoff, UnsetType) else describe_backoff(info.backoff),
        "retried on": info.retry_on,
        "exit codes of success": list_ok_codes(given(info.ok_codes)),
        "worker": info.worker,
        "created": format_age(info.created_at, now),
        "due": format_age(info.due_at, now) if not info.state.is_final else None,
        "started": format_age(info.started_at, now),
        "usually takes": usual(info, now),
        "finished": format_age(info.finished_at, now),
        "took": took(info),
        "exit code": given(info.exit_code) or None,
        "expires": format_age(info.expires_at, now),
        "stays": format_stay(info.retain_s),
        "removed": format_age(info.removed_at, now),
    }


def _list_files(files: Maybe[list[JobFile]]) -> str | None:
    """Return the names and sizes of the first of some files."""
    listed = given(files) or []
    more = [f"… and {len(listed) - FILES_SHOWN:,} others"] if len(listed) > FILES_SHOWN else []
    shown = [f"{each.name}, {_describe_file(each)}" for each in listed[:FILES_SHOWN]]
    return "; ".join([*shown, *more]) or None


def _describe_file(file: JobFile) -> str:
    """Return a file's size, or whose it is."""
    if not file.job:
        return format_bytes(file.size) or ""
    whose = f"{file.file} of {file.job}" if file.file else f"from {file.job}"
    return f"{whose}, {format_bytes(file.size)}" if file.blob else whose


def _describe_sources(info: JobInfo) -> str | None:
    """Say which outputs of other jobs a job gets."""
    sources = given(info.inputs) or ()
    return ", ".join(f"{'input' if each.name == '-' else each.name} from {each.job}" for each in sources) or None


def describe_attempts(info: JobInfo) -> str:
    """Say how many attempts failed, and how many were lost with their workers: these do not count."""
    if isinstance(info.failed, UnsetType):  # an older server
        return f"{info.attempt} of {info.max_attempts}"
    lost = info.lost or 0
    with_whom = "1 lost with its worker" if lost == 1 else f"{lost} lost with their workers"
    return f"{info.failed} of {info.max_attempts} failed" + (f", {with_whom}" if lost else "")


def list_ok_codes(codes: Iterable[int] | None) -> str | None:
    """List the exit codes that mean success; None when that is 0 alone."""
    listed = sorted({0, *(codes or ())})
    return " ".join(map(str, listed)) if len(listed) > 1 else None


def describe_backoff(backoff: Backoff) -> str:
    """Say how long a job waits before its next attempt."""
    first, longest = format_duration(backoff.base_s), format_duration(backoff.cap_s)
    return {
        "exponential": f"exponential, {first} at first, {longest} at most",
        "fixed": f"fixed, {first}",
        "none": "none",
    }[backoff.kind]


def _describe_blob(content: Maybe[Content], size: Maybe[int], name: Maybe[str] = UNSET) -> str | None:
    """Return a blob's id, what it was called, and its size; None when there is none."""
    id_ = blob_id(content) if isinstance(content, Content) else None
    return ", ".join(filter(None, (str(id_), name or "", format_bytes(size)))) if id_ else None


def _describe_limits(limits: Maybe[Limits]) -> dict[str, object]:
    if isinstance(limits, UnsetType):
        return {}
    sizes = {
        "memory": limits.memory_bytes,
        "output": limits.output_bytes,
        "log": limits.log_bytes,
        "files": limits.files_bytes,
        "stack": limits.stack_bytes,
    }
    counts = {"number of files": limits.files_count, "open files": limits.open_files, "fuel": limits.fuel}
    parts = [f"{name} {format_bytes(size)}" for name, size in sizes.items() if size is not None]
    parts += [f"{name} {count}" for name, count in counts.items() if count is not None]
    return {
        "timeout": None if limits.timeout_s is None else format_duration(limits.timeout_s),
        "limits": ", ".join(parts),
    }


def _describe_digests(digests: Digests | None) -> dict[str, object]:
    """Return rows for what went into a deterministic run, and what came out."""
    named = {} if digests is None else msgspec.structs.asdict(digests)
    was_cut = named.pop("journal_cut", False)
    rows = {f"SHA-256 of the {name}": value for name, value in named.items()}
    return rows | {"the journal": "was full before the run ended" if was_cut else None}


def _describe_usage(usage: Usage) -> str:
    parts = {
        "wall": usage.wall_s and format_duration(usage.wall_s),
        "CPU": usage.cpu_s and format_duration(usage.cpu_s),
        "fuel": usage.fuel,
        "memory": format_bytes(usage.memory_bytes),
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value)
