"""The parts of lambdas and jobs that no statement asks for by name: kept as JSON."""

from functools import lru_cache
from typing import Literal

import msgspec

from piecework.protocol.codes import ErrorKind
from piecework.protocol.engines import Engine
from piecework.protocol.messages import Backoff, CallRecording, Grants, LambdaMode, Limits, Verify
from piecework.server.store.job_keys import NO_KEYS, JobKeys

OnFailure = Literal["cancel", "run"]
"""What becomes of a job when one that it waits for does not finish."""


class LambdaOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a lambda that no statement asks for by name."""

    tags: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    limits: Limits = Limits()
    grants: Grants = Grants()
    ok_codes: tuple[int, ...] = ()
    deterministic: bool = False
    record: bool = False
    mode: LambdaMode = "text"
    outputs: tuple[str, ...] = ()
    """Patterns of the files that its jobs give back."""
    retain_ms: int | None = None
    """How long its jobs stay; see ``Job.retain_ms``."""
    keys: JobKeys = NO_KEYS
    verify: Verify | None = None
    """How many workers must agree on a result; None: one is enough."""
    memo: bool = False
    """Equal jobs are answered with the result of the first."""
    receipts: bool = False
    """No result counts without a receipt that its worker signed."""
    source: str = ""
    """Where its code was pulled from; "" when that is not known."""
    recording: CallRecording | None = None
    """Of a function: which of its calls are recorded; None: none."""
    gate: str = ""
    """What came of replaying an older one's calls against its code, as JSON; "" when there is nothing."""

    def without_order(self) -> "LambdaOptions":
        """Return options that are equal for all that mean the same: tags and grants have no order.

        Where code was pulled from, and what a gate said of it, does not count: it is the same code.
        """
        lists = {each: sorted(set(getattr(self.grants, each))) for each in ("http", "dirs", "env", "kv")}
        grants = msgspec.structs.replace(self.grants, **lists)
        return msgspec.structs.replace(self, tags=tuple(sorted(set(self.tags))), grants=grants, source="", gate="")


class JobOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a job that no statement asks for by name."""

    args: tuple[str, ...] | None = None
    env: dict[str, str] = {}
    limits: Limits = Limits()
    backoff: Backoff = Backoff()
    retry_on: tuple[ErrorKind, ...] | None = None
    max_attempts: int | None = None
    """Only when the submitter asked for a number of attempts."""
    ok_codes: tuple[int, ...] | None = None
    """Exit codes with which it has finished, beside 0; None: its lambda's."""
    on_failure: OnFailure = "cancel"
    """What becomes of it when a job that it waits for does not finish."""
    has_files: bool = False
    """It gets outputs of other jobs as files; which, its dependencies say."""
    has_folder: bool = False
    """It has a directory of its own; what is put in there, rows of their own say."""
    awaits_files: bool = False
    """Some of these are of jobs that it waits for."""
    outputs: tuple[str, ...] = ()
    """Patterns of the files in there that it gives back."""
    on_end: str | None = None
    """The name of the webhook that is told of its end."""
    trace: str | None = None  # the W3C trace context that it is part of
    memo: str | None = None  # the key of the memo that its result is kept as, or that it was answered with
    recalled: int | None = None  # the job whose result it was answered with
    checks: str | None = None  # the key of the memo that its result is compared with
    replays: int | None = None  # the job whose run it does again, to compare
    engine: Engine | None = None  # what makes the code of a replay run; None: what does so on its worker
    due_at: int | None = None  # what it was to wait for when it was submitted, whether that is over or not


NO_OPTIONS = JobOptions()


@lru_cache(maxsize=1000)
def read_options(text: str | None) -> JobOptions:
    """Return options as they are kept; None: all default."""
    return NO_OPTIONS if text is None else msgspec.json.decode(text, type=JobOptions)
