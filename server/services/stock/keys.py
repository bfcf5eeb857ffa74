"""Reading the keys with limits of jobs and lambdas, and the name of a tenant."""

from typing import TypeVar

from msgspec import UNSET

from piecework.protocol.messages import JobSpec, LambdaCreate, given
from piecework.protocol.messages.base import Maybe
from piecework.server.errors import InvalidRequest
from piecework.server.store.job_keys import NO_KEYS, JobKeys

T = TypeVar("T")

KEY_LENGTH = 255
LIMIT_MAX = 1_000_000
PERIOD_MAX_S = 31 * 86_400
"""The longest period of a rate."""
PERIOD_MIN_S = 0.001
NAME_LENGTH = 100


def read_keys(said: JobSpec | LambdaCreate, default: JobKeys = NO_KEYS) -> JobKeys:
    """Return the keys and limits that a request says; what it leaves out is as in ``default``, its lambda's.

    Raises InvalidRequest that says what is wrong with them.
    """
    concurrency_key, concurrency_limit = _pick(said.concurrency_key, default.concurrency_key), None
    rate_key, rate_limit, rate_period_ms = _pick(said.rate_key, default.rate_key), None, None
    check_key("concurrency_key", concurrency_key)
    check_key("rate_key", rate_key)
    if concurrency_key == default.concurrency_key:
        concurrency_limit = default.concurrency_limit
    concurrency_limit = _pick(said.concurrency_limit, concurrency_limit)
    if rate_key == default.rate_key:
        rate_limit, rate_period_ms = default.rate_limit, default.rate_period_ms
    if given(said.rate_limit) is not None:
        rate_limit, rate_period_ms = given(said.rate_limit), read_period_ms(_pick(said.rate_period_s, 1.0))
    elif given(said.rate_period_s) is not None:
        raise InvalidRequest("rate_period_s is the period of rate_limit: say both")
    for name, key, limit in (("concurrency", concurrency_key, concurrency_limit), ("rate", rate_key, rate_limit)):
        if limit is not None and key is None:
            raise InvalidRequest(f"{name}_limit is the limit of a key: say {name}_key, too")
        check_limit(f"{name}_limit", limit)
    if concurrency_key is None and rate_key is None:
        return NO_KEYS
    return JobKeys(concurrency_key, concurrency_limit, rate_key, rate_limit, rate_period_ms)


def _pick(said: Maybe[T | None], default: T) -> T:
    found = None if said is UNSET else given(said)
    return default if found is None else found


def check_key(name: str, key: str | None) -> None:
    """Raise InvalidRequest unless jobs can have a key."""
    if key is not None and not 0 < len(key) <= KEY_LENGTH:
        raise InvalidRequest(f"{name} has 1 to {KEY_LENGTH} characters, this one has {len(key)}")
    if key in {".", ".."}:
        raise InvalidRequest(f"{name} cannot be {key}: a path with it means another thing")


def check_limit(name: str, limit: int | None, least: int = 1) -> None:
    """Raise InvalidRequest unless a limit can be kept."""
    if limit is not None and not least <= limit <= LIMIT_MAX:
        why = "; to keep a job from starting, submit it paused" if limit == 0 else ""
        raise InvalidRequest(f"{name} is {limit}, but must lie between {least} and {LIMIT_MAX}{why}")


def read_period_ms(period_s: float, name: str = "rate_period_s") -> int:
    """Return a period in milliseconds. Raises InvalidRequest when it is too short or too long."""
    if not PERIOD_MIN_S <= period_s <= PERIOD_MAX_S:
        raise InvalidRequest(
            f"{name} is {period_s:g}, but must lie between {PERIOD_MIN_S:g} and {PERIOD_MAX_S} (31 days)"
        )
    return round(period_s * 1000)


def check_tenant(name: str) -> str:
    """Return the name of a tenant. Raises InvalidRequest when nobody can be called so."""
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable() or name != name.strip():
        raise InvalidRequest(
            f"a tenant's name has 1 to {NAME_LENGTH} printable characters, without spaces around it"
        )
    return name
