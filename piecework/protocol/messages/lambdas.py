"""Lambdas: code, the runtime it needs, and defaults for its jobs."""

from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown
from piecework.protocol.messages.gates import GateEvidence
from piecework.protocol.messages.outcomes import ExitCode
from piecework.protocol.retention import Retain
from piecework.protocol.text import Name, VariableName

OkCodes = Annotated[list[ExitCode], Meta(max_length=256)]
"""Exit codes of guests that did well. 0 is always one, whether it is listed or not."""
LambdaMode = Literal["text", "json", "http"]
"""How a Capsule module is called."""


class Limits(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What one attempt may use. None: the lambda's limit, else the server's, holds."""

    timeout_s: float | None = None
    """Wall time, seconds, above 0."""
    memory_bytes: int | None = None
    """Linear memory of the guest, bytes."""
    fuel: int | None = None
    """Wasm fuel, about one unit per instruction; not counted unless given."""
    output_bytes: int | None = None
    """Size of the output, bytes."""
    log_bytes: int | None = None
    """Size of the kept log, bytes; the newest is kept."""
    files_bytes: int | None = None
    """Size of the files that it keeps in a directory where it may write, bytes."""
    files_count: int | None = None
    """How many files, directories and links these are."""
    open_files: int | None = None
    """Files and directories that are open at once."""
    stack_bytes: int | None = None
    """Stack of its calls, bytes."""

    def over(self, other: "Limits") -> "Limits":
        """Return these limits, completed by ``other`` where they are silent."""
        return _complete(self, other)


@lru_cache(maxsize=1000)
def _complete(these: Limits, other: Limits) -> Limits:
    mine, theirs = msgspec.structs.asdict(these), msgspec.structs.asdict(other)
    return Limits(**{name: theirs[name] if value is None else value for name, value in mine.items()})


class Grants(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What a lambda may touch, where the node's operator allows it too. Nothing unless listed."""

    http: list[str] = []
    """Hosts, as ``host`` or ``host:port``."""
    redis: bool = False
    """The node's Redis."""
    files: Literal["read", "write"] | None = None
    """Files in the job's private directory."""
    dirs: list[str] = []
    """Directories that operators share, by the path under which guests find them: ``/data``, or ``/data:rw``."""
    env: list[str] = []
    """Names of variables of the node's environment."""
    kv: list[str] = []
    """Namespaces of the server, which need no operator's leave: ``ID``, or ``ID:rw`` to write there too; as
    ``NAME=ID:rw`` when guests are to call one by a name."""


class Verify(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """Which results of a deterministic lambda are accepted. Of an owner's workers one is asked for each job."""

    sample: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Two owners' workers must agree, unless the first one's have given ten results in a row with which others
    agreed: then only on this share of its results, 0 to 1."""
    quorum: Annotated[int, Meta(ge=2, le=7)] | None = None
    """So many owners' workers must agree on each result."""
    diverse: bool = False
    """One of those who agree must run the code with another engine: a worker with a tag ``engine:…``."""


class LambdaCreate(Message, kw_only=True):
    """The body of ``POST /lambda``."""

    codex: Maybe[Id | None] = UNSET
    """The blob with the code; 0 for none."""
    codex_checksum: Maybe[str | None] = UNSET
    """In place of ``codex``, the SHA-256 of the code, hex: that of a lambda which is there already."""
    reuse: Maybe[bool] = UNSET
    """Answer with a lambda that is there, if one has the same code, runtime, name and options. Of those with a
    name only the newest is looked at: the name means the lambda that is answered with."""
    runtime: str
    """``Base[+Feature…]``."""
    name: Maybe[Name | None] = UNSET
    """What it can be called by, wherever an id is asked for; then the newest of this name is meant. 1 to 100 of
    ``A-Z a-z 0-9 . _ -``, and no number."""
    tags: list[str] | None = None
    """Added to the tags of each of its jobs."""
    args: list[str] | None = None
    """Command line of its jobs, without the program's name."""
    env: dict[VariableName, str] | None = None
    """Environment of its jobs."""
    limits: Limits = Limits()
    """What an attempt may use, unless its job says otherwise."""
    grants: Grants = Grants()
    """What it may touch outside of its sandbox."""
    deterministic: bool = False
    """Clock and random come from the job: the same input gives the same output."""
    record: Maybe[bool] = UNSET
    """What its guests get from outside is written into a journal, from which each run can be repeated. Not
    together with ``deterministic``."""
    mode: LambdaMode = "text"
    """``http``: inputs and outputs are HTTP requests and responses in envelopes. ``json``: a Capsule module's
    handler of JSON is called."""
    ok_codes: Maybe[OkCodes | None] = UNSET
    """Exit codes with which its jobs have finished, not failed, beside 0."""
    outputs: Maybe[list[str] | None] = UNSET
    """Patterns of the files that its jobs give back, unless they say otherwise. See the job's ``outputs``."""
    retain_s: Maybe[Retain | None] = UNSET
    """How long its jobs stay after their end, unless they say otherwise. See the job's ``retain_s``."""
    concurrency_key: Maybe[str | None] = UNSET
    """Of its jobs, and others with the same key, no more than the limit run at once."""
    concurrency_limit: Maybe[int | None] = UNSET
    """That limit, 1 or more."""
    rate_key: Maybe[str | None] = UNSET
    """Of its jobs, and others with the same key, no more than the limit start within a period."""
    rate_limit: Maybe[int | None] = UNSET
    """That limit, 1 or more."""
    rate_period_s: Maybe[float | None] = UNSET
    """The period of ``rate_limit`` in seconds; default 1."""
    verify: Maybe[Verify | None] = UNSET
    """Have workers of several owners agree on results. The lambda must be deterministic."""
    memo: Maybe[bool | None] = UNSET
    """Run equal jobs once, and answer the others with the result of the first. It must be deterministic."""
    receipts: Maybe[bool | None] = UNSET
    """Take no result without a receipt that its worker signed. It must be deterministic or recorded."""
    source: Maybe[str | None] = UNSET
    """Where its code was pulled from, for people: ``oci://HOST/NAME@sha256:…``, the digest of the manifest."""
    gate: Maybe[GateEvidence | None] = UNSET
    """What came of replaying an older lambda's calls against its code. Its checksum must be that of the code."""


class LambdaCreated(Reply, kw_only=True):
    """The answer of ``POST /lambda``."""

    id: Id
    """The new lambda, or the one that is reused."""


class LambdaInfo(Reply, kw_only=True):
    """The answer of ``GET /lambda/{lambda}``. The fields from ``name`` on only with ``?view=full``."""

    id: Id
    """The lambda."""
    codex: Id
    """The blob with the code; 0 for none."""
    runtime: str
    """What a worker must offer."""
    name: Maybe[str | None] = UNSET
    """For people."""
    codex_checksum: Maybe[str] = UNSET
    """SHA-256 of the code, hex; absent when there is no such blob."""
    codex_size: Maybe[int] = UNSET
    """Size of the code, bytes."""
    created_at: Maybe[float] = UNSET
    """Seconds since 1970."""
    tags: Maybe[list[str]] = UNSET
    """Added to the tags of its jobs."""
    args: Maybe[list[str]] = UNSET
    """Command line of its jobs."""
    env: Maybe[dict[str, str]] = UNSET
    """Environment of its jobs; ``***`` for values of variables whose names look secret."""
    limits: Maybe[Limits] = UNSET
    """What an attempt may use."""
    grants: Maybe[Grants] = UNSET
    """What it may touch."""
    deterministic: Maybe[bool] = UNSET
    """Whether clock and random come from the job."""
    record: Maybe[bool] = UNSET
    """What its guests get from outside is written into a journal; absent when it is not."""
    mode: Maybe[str] = UNSET
    """``http``: inputs and outputs are HTTP requests and responses in envelopes. ``json``: a Capsule module's
    handler of JSON is called."""
    ok_codes: Maybe[list[int]] = UNSET
    """Exit codes with which its jobs have finished, beside 0; absent when there are none."""
    outputs: Maybe[list[str]] = UNSET
    """Patterns of the files that its jobs give back; absent when there are none."""
    retain_s: Maybe[Retain] = UNSET
    """How long its jobs stay after their end, unless they say otherwise; absent: as the server's settings say."""
    concurrency_key: Maybe[str] = UNSET
    """Of its jobs, and others with the same key, no more than the limit run at once."""
    concurrency_limit: Maybe[int] = UNSET
    """That limit."""
    rate_key: Maybe[str] = UNSET
    """Of its jobs, and others with the same key, no more than the limit start within a period."""
    rate_limit: Maybe[int] = UNSET
    """That limit."""
    rate_period_s: Maybe[float] = UNSET
    """The period of ``rate_limit`` in seconds."""
    verify: Maybe[Verify] = UNSET
    """Who must agree on its results; absent: one worker's word is enough."""
    memo: Maybe[bool] = UNSET
    """Whether equal jobs are answered with the result of the first; absent: they are not."""
    receipts: Maybe[bool] = UNSET
    """Whether no result counts without a receipt that its worker signed; absent: it does."""
    source: Maybe[str] = UNSET
    """Where its code was pulled from, as its maker says: ``oci://HOST/NAME@sha256:…``; absent when not known."""
    gate: Maybe[GateEvidence] = UNSET
    """What came of replaying an older lambda's calls against its code, as its maker says; absent without that."""


class MemosInfo(Reply, kw_only=True):
    """The answer of ``GET /lambda/{lambda}/memos``: what is kept for all lambdas with the same code."""

    kept: int
    """Results that are kept."""
    hits: int
    """Jobs that were answered with these."""
    stopped_at: Maybe[float] = UNSET
    """Since when none are kept, seconds since 1970; absent: they are."""
    stopped_why: Maybe[str] = UNSET
    """What two runs of one job differed in."""


class LambdaList(Reply, kw_only=True):
    """The answer of ``GET /lambda``: newest first."""

    lambdas: list[LambdaInfo]
    """The lambdas, with all fields."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""
