"""Gates: what came of replaying the recorded calls of an old lambda against new code."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Shown

GatePolicy = Literal["identical", "same-status", "report"]
"""What a gate lets through: runs that came to the same in everything; those that ended alike, whatever their
output; all."""
GateKind = Literal["calls", "failure", "recovery", "exit code", "status", "output", "files"]
"""What a finding is about, what tells most first: it asks the outside for something else; it fails, or fails
otherwise; it failed and does no more; its exit code, the HTTP status of its answer, its output, or files that it
gives back are others."""
FINDINGS_MAX = 20
"""So many findings are kept."""
MESSAGE_MAX = 300
Count = Annotated[int, Meta(ge=0)]
Figure = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class GateFinding(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """How the new code did not do in a recorded call what the old one did."""

    job: Id
    """The old one's job; of a function, the recorded call."""
    kind: GateKind
    """What differs."""
    message: Annotated[str, Meta(max_length=MESSAGE_MAX)]
    """For people."""
    byte: Count | None = None
    """The first byte of the output, or of what was asked of the outside, that differs, from 0."""


class GateEvidence(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What a gate found: recorded calls of an old lambda, replayed against new code."""

    old: Id
    """The lambda whose calls they are."""
    function: Maybe[Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}$")]] = UNSET
    """The function whose recorded calls they are, with its revision: ``hola/blue``; absent when they are jobs."""
    checksum: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the new code, hex."""
    runtime: Annotated[str, Meta(max_length=200)]
    """That ran the new code."""
    policy: GatePolicy
    """What it was to let through: ``identical``, ``same-status``, ``report``."""
    passed: bool
    """Whether it let the new code through."""
    why: Annotated[list[Annotated[str, Meta(max_length=MESSAGE_MAX)]], Meta(max_length=10)] = []
    """Why it did not, for people."""
    compared: Count
    """Calls that were replayed and could be compared."""
    identical: Count
    """Of these, such that came to the same."""
    calls: Count = 0
    """Such that asked the outside for something else."""
    failures: Count = 0
    """Such that fail now, or fail otherwise."""
    recoveries: Count = 0
    """Such that failed, and do no more."""
    exit_codes: Count = 0
    """Such that ended with another exit code."""
    statuses: Count = 0
    """Such that answered an HTTP request with another status."""
    outputs: Count = 0
    """Such whose output is another."""
    files: Count = 0
    """Such that gave other files back."""
    unclear: Count = 0
    """Calls from which nothing follows, beside those compared: the old run's end depends on the machine, or its
    journal was full."""
    skipped: Count = 0
    """Calls that could not be replayed, such as those whose parts are gone."""
    fuel_then: Maybe[Figure] = UNSET
    """Fuel of all runs that tell it, old; absent when there are none."""
    fuel_now: Maybe[Figure] = UNSET
    """Fuel of the same runs, new."""
    memory_then: Maybe[Figure] = UNSET
    """Bytes of memory of all runs that tell it, old; absent when there are none."""
    memory_now: Maybe[Figure] = UNSET
    """Bytes of memory of the same runs, new."""
    engine: Annotated[str, Meta(max_length=100)]
    """What ran it, and its version."""
    findings: Annotated[list[GateFinding], Meta(max_length=FINDINGS_MAX)] = []
    """The first of them."""
