"""The keys with limits of a job."""

import msgspec


class JobKeys(msgspec.Struct, frozen=True, omit_defaults=True):
    """The keys with limits of a job, or of those of a lambda, and what is said of these limits."""

    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    rate_key: str | None = None
    rate_limit: int | None = None
    rate_period_ms: int | None = None


NO_KEYS = JobKeys()
