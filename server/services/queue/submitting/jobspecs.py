"""What a submission says of one job: read, and checked."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, UnsetType

from piecework.protocol.messages import JobSpec, given
from piecework.protocol.states import JobState, parse_state
from piecework.server.errors import InvalidRequest
from piecework.server.services.queue.dependencies.folders import NewFile
from piecework.server.services.stock.keys import check_tenant
from piecework.server.services.stock.lambdas import check_limits, check_tags, read_ok_codes
from piecework.server.services.stock.outputs import read_outputs
from piecework.server.store.options import JobOptions
from piecework.server.store.records import Lambda

ATTEMPTS_MAX = 100
KEY_LENGTH = 255
TEXT_MAX_BYTES = 256 * 1024
"""Arguments and environment of one job together."""


def first_state(spec: JobSpec, now: int) -> tuple[JobState, int | None]:
    """Return the state that a new job starts in, and when it is due if it waits."""
    due_at = to_ms(spec.run_at) or 0
    if delay_s := given(spec.delay_s):
        due_at = max(due_at, now + round(delay_s * 1000))
    due = due_at if due_at > now else None
    status = given(spec.status)
    if status is not None:
        try:
            wanted = parse_state(status)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        if wanted is JobState.PAUSED:
            return JobState.PAUSED, due
        if wanted is not JobState.ENQUEUED:
            raise InvalidRequest(f"a new job can be Paused or Enqueued, not {wanted}")
    return (JobState.WAITING if due else JobState.ENQUEUED), due


def read_options(spec: JobSpec, lambda_: Lambda, files: Sequence[NewFile]) -> JobOptions:
    """Return what a job asks for beside what statements name; ``files``: those in a directory of its own."""
    limits, timeout_s = spec.limits, given(spec.timeout_s)
    if timeout_s is not None:
        limits = msgspec.structs.replace(limits, timeout_s=timeout_s)
    check_limits(limits)
    max_attempts = given(spec.max_attempts)
    if max_attempts is not None and not 1 <= max_attempts <= ATTEMPTS_MAX:
        raise InvalidRequest(f"max_attempts is {max_attempts}, but must lie between 1 and {ATTEMPTS_MAX}")
    retry_on = given(spec.retry_on)
    asked = read_outputs(spec.outputs)
    outputs = lambda_.options.outputs if asked is None else asked
    options = JobOptions(
        args=None if spec.args is None else tuple(spec.args),
        env=spec.env or {},
        limits=limits,
        backoff=spec.backoff,
        retry_on=None if retry_on is None else tuple(retry_on),
        max_attempts=max_attempts,
        ok_codes=read_ok_codes(spec.ok_codes),
        on_failure=given(spec.on_failure) or "cancel",
        has_files=bool(given(spec.inputs)),
        has_folder=bool(outputs or files),
        awaits_files=any(each.ref for each in files),
        outputs=outputs,
        on_end=given(spec.on_end),
    )
    check_texts(options)
    return options


def check_texts(options: JobOptions) -> None:
    """Raise InvalidRequest when arguments and environment of a job are too long."""
    length = sum(map(len, (*(options.args or ()), *options.env, *options.env.values())))
    if length > TEXT_MAX_BYTES:
        raise InvalidRequest(f"args and env have {length} characters; at most {TEXT_MAX_BYTES} are taken")


def read_key(spec: JobSpec) -> str | None:
    key = given(spec.key)
    return None if key is None else check_key(key)


def check_key(key: str) -> str:
    """Return an idempotency key. Raises InvalidRequest when it is empty or too long."""
    if not 0 < len(key) <= KEY_LENGTH:
        raise InvalidRequest(f"a key has 1 to {KEY_LENGTH} characters, this one has {len(key)}")
    return key


def read_tenant(spec: JobSpec, submitter: str | None) -> str:
    named = given(spec.tenant)
    return (submitter or "") if named is None else check_tenant(named)


def read_tags(spec: JobSpec, lambda_: Lambda) -> tuple[str, ...]:
    """Return the lambda's and the job's tags together, each once."""
    tags = tuple(dict.fromkeys((*lambda_.options.tags, *(spec.tags or ()))))
    check_tags(tags)
    return tags


def to_ms(at: datetime | UnsetType | None) -> int | None:
    """Return a time in milliseconds since 1970; one without a zone is UTC."""
    if at is None or at is UNSET:
        return None
    zoned = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round(zoned.timestamp() * 1000)
