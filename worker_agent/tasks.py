"""What passes between the agent's loop and its executor: a task in, a result out."""

from pathlib import Path

import msgspec

from piecework.protocol.ids import Id
from piecework.protocol.messages import Grants, JobError, Limits, Usage


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One leased job with everything at hand that is needed to run it."""

    job: Id
    lease: str
    """The fencing token under which it runs."""
    attempt: int
    runtime: str
    """As the lambda names it, ``Base[+Feature…]``."""
    codex: Path
    """The code, in the agent's blob cache."""
    codex_checksum: str
    """SHA-256 of the code, hex: the key of the compiled-module cache."""
    input: bytes | Path
    """The input itself when it is small, else a file of the agent's blob cache."""
    limits: Limits
    """``timeout_s``, ``memory_bytes``, ``output_bytes`` and ``log_bytes`` are always set."""
    args: tuple[str, ...] = ()
    """Command line, without the program's name."""
    env: dict[str, str] = {}
    grants: Grants = Grants()
    deterministic: bool = False
    seed: bytes = b""
    """Where a deterministic run takes clock and random from."""
    mode: str = "text"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What running a task produced. ``error`` None: it finished."""

    output: bytes | Path
    """The bytes, or a scratch file that belongs to whoever receives the result."""
    error: JobError | None
    usage: Usage
    log: bytes
    """The newest ``log_bytes`` of the log."""
    log_offset: int
    """How many bytes of log came before ``log`` and were dropped."""
    cancelled: bool = False
    """It was stopped because someone asked for it."""
    unfit: bool = False
    """It failed because this node could not do its part: another node may do better."""


class LogUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What a running task logged since the last time anyone asked."""

    job: Id
    lease: str
    log: bytes
    offset: int
    """Bytes that the task logged before ``log``."""
