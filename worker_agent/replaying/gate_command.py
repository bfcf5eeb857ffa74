"""``worker-agent gate``: replays calls against new code, for ``piecework gate``."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from piecework.protocol.bodies import encode
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.replaying.command import open_node
from piecework.worker_agent.runtimes import ENGINES, Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piecework.receipts.recorded_calls import RunParts

TIMEOUT_S = 60.0
COMPILE_MB = 2048


@click.command(
    "gate",
    context_settings={"help_option_names": ["-h", "--help"]},
    short_help="Replay recorded calls against new code.",
)
@click.argument("code", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--runtime", default="wasi", help="What runs it.  [wasi]")
@click.option("--engine", type=click.Choice(ENGINES), default="cranelift", help="[cranelift]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT_S,
    metavar="S",
    help=f"Give a call up after this.  [{TIMEOUT_S:g}]",
)
def gate_runs(code: Path, runtime: str, engine: Engine, timeout_s: float) -> None:
    """Replay calls against new code, with nothing granted, and say of each what differs.

    Reads a line of JSON for each from standard input, which names a file with a bundle or a recorded call, and
    answers with a line of JSON. 'piecework gate' does all of it.
    """
    import hashlib  # noqa: PLC0415  # the agent starts without what follows

    from piecework.protocol.bodies import decode  # noqa: PLC0415
    from piecework.receipts.errors import ReceiptError  # noqa: PLC0415
    from piecework.receipts.gates import GateQuestion  # noqa: PLC0415
    from piecework.worker_agent.replaying.gating import CodeGate, NewCode  # noqa: PLC0415
    from piecework.worker_agent.runtimes.base import CodeFile  # noqa: PLC0415

    with code.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    new = NewCode(CodeFile(code, checksum), runtime)
    with CodeGate(new, open_node(os.environ, COMPILE_MB), engine=engine, timeout_s=timeout_s) as gate:
        for line in sys.stdin.buffer:
            try:
                question = decode(line, GateQuestion)
                with _open_parts(Path(question.path)) as parts:
                    run = gate.replay(question.job, parts, question.memory_then)
            except (ReceiptError, ValueError) as error:
                raise AgentError(str(error)) from error
            sys.stdout.buffer.write(encode(run) + b"\n")
            sys.stdout.flush()


@contextmanager
def _open_parts(path: Path) -> Iterator[RunParts]:
    """Open a bundle or a recorded call. Raises ReceiptError, OSError."""
    from piecework.receipts.bundle import Bundle, is_bundle  # noqa: PLC0415  # as above
    from piecework.receipts.recorded_calls import RecordedCall  # noqa: PLC0415

    with path.open("rb") as file:
        start = file.read(4)
    if not is_bundle(start):
        yield RecordedCall.read_from(path.read_bytes())
        return
    with Bundle(path) as bundle:
        yield bundle
