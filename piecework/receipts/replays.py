"""What comes of a replay, and how it is told: the same words wherever the run was done again."""

from typing import Literal

import msgspec

from piecework.receipts.payload import RunResult

Where = Literal[
    "host call",
    "state",
    "error kind",
    "exit code",
    "HTTP status",
    "output",
    "files that it gave back",
    "memory",
    "fuel",
]
Verdict = Literal["identical", "different", "cut", "incomparable"]
EXITS: dict[Verdict, int] = {"identical": 0, "different": 1, "cut": 3, "incomparable": 3}
"""What commands end with; 2 is for a command that was misused."""


class Difference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a replay was first not like its record."""

    where: Where
    message: str
    """For people."""
    call: int | None = None
    """Which host call, from 1."""
    byte: int | None = None
    """Which byte of what was asked, or of the output, from 0."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a replay."""

    verdict: Verdict
    """``cut``: the same as far as the journal goes, which was full then. ``incomparable``: how it ended depends on
    the machine or the engine, so that nothing follows."""
    difference: Difference | None = None
    """Unless it is identical, the first."""
    result: RunResult
    """Of the replay."""
    files: dict[str, str] | None = None
    """SHA-256 of what it gave back, by path."""


class Replay(Comparison, frozen=True, kw_only=True):
    """What came of a replay, and under what."""

    engine: str
    wasmtime: str
    """Its version."""
    wall_s: float
    """How long it took, seconds; on this machine with starting the process and loading the code."""


def describe_replay(found: Replay, worker: str = "") -> str:
    """Put what came of a replay into a sentence or two. ``worker``: where it was done, if not here."""
    place = f" on {worker}" if worker else ""
    under = f"under {found.engine} of wasmtime {found.wasmtime}{place}, {found.wall_s:.1f} s"
    said = found.difference.message if found.difference is not None else ""
    if found.verdict == "identical":
        return f"identical ({under})"
    if found.verdict == "cut":
        return f"the same as far as the journal goes ({under}): {said}"
    if found.verdict == "incomparable":
        return f"nothing follows: the run ended in a way that depends on the machine ({under}); {said}"
    return f"different ({under}): {said}"
