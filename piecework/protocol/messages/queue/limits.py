"""Limits by key, and tenants, which take turns."""

from typing import Literal

from msgspec import UNSET

from piecework.protocol.messages.base import Maybe, Message, Reply


class LimitPut(Message, kw_only=True):
    """The body of ``PUT /limit/{key}``: what counts for the key from now on, whatever jobs say."""

    concurrency: Maybe[int | None] = UNSET
    """So many of its jobs run at once; 0: none start."""
    rate: Maybe[int | None] = UNSET
    """So many of its jobs start within a period; 0: none do."""
    period_s: Maybe[float | None] = UNSET
    """The period of ``rate`` in seconds; default 1."""


class LimitInfo(Reply, kw_only=True):
    """One limit: how many jobs of a key run at once, or how many start within a period."""

    key: str
    """The key."""
    kind: Literal["concurrency", "rate"]
    """Which of the two."""
    limit: int | None
    """What counts; null: an operator's limit was taken back, and no job said one."""
    period_s: Maybe[float] = UNSET
    """The period of a rate in seconds."""
    set_by: Literal["job", "operator"]
    """Who set what counts."""
    said: Maybe[int] = UNSET
    """What jobs say, where an operator's limit counts instead."""
    used: int
    """Jobs that run now; of a rate: that started within the last period."""
    waiting: int
    """Jobs that wait for room; 10,000 for more."""


class LimitList(Reply, kw_only=True):
    """The answer of ``GET /limit``, by kind and key, and of ``GET`` and ``PUT /limit/{key}``."""

    limits: list[LimitInfo]
    """The limits."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""


class LimitCheck(Reply, kw_only=True):
    """The answer of ``POST /limit``."""

    checked: int
    """Limits whose running jobs were counted anew."""
    repaired: int
    """Those of them whose count was wrong."""


class TenantPut(Message, kw_only=True):
    """The body of ``PUT /tenant/{name}``."""

    weight: int
    """So many of its jobs go in one of its turns: 1 to 1000."""


class TenantInfo(Reply, kw_only=True):
    """One tenant: on whose behalf jobs run."""

    name: str
    """Its name; empty for jobs on nobody's behalf."""
    weight: int
    """So many of its jobs go in one of its turns."""
    enqueued: int
    """Jobs that could be given to a worker now."""
    running: int
    """Jobs that workers hold."""
    finished: int = 0
    """Jobs that finished in the last hour."""
    failed: int = 0
    """Jobs that failed for good in the last hour."""
    oldest_at: Maybe[float] = UNSET
    """When the oldest of the enqueued was submitted, seconds since 1970; absent when there is none."""


class TenantList(Reply, kw_only=True):
    """The answer of ``GET /tenant``: by name."""

    tenants: list[TenantInfo]
    """The tenants."""
    counted_at: Maybe[float] = UNSET
    """When ``enqueued`` was counted, seconds since 1970; absent: just now. See ``GET /sys/status``."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""
