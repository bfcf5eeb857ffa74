"""`piecework gate`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED
from piecework.cli.functions.gated import find_calls, find_function
from piecework.cli.gating import (
    LAST,
    LAST_MAX,
    POLICIES,
    PROCESSES,
    Candidate,
    GateOptions,
    find_jobs,
    run_gate,
)
from piecework.cli.options.kinds import LAMBDA, STDIN, FileOrId, KeyValueType
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.gate_rows import describe_evidence
from piecework.cli.stock.code import resolve_name
from piecework.client import NotFound
from piecework.protocol.bodies import encode
from piecework.protocol.ids import Id
from piecework.protocol.messages import GateEvidence, GatePolicy, LambdaInfo
from piecework.receipts.gates import GateBounds

ENGINES = ("cranelift", "cranelift-none", "pulley")
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
PERCENT = click.FloatRange(min=0)


@click.command
@click.argument("old", metavar="OLD", type=LAMBDA)
@click.argument("new", metavar="NEW", type=FileOrId("lambda"))
@click.option(
    "--last", type=click.IntRange(1, LAST_MAX), default=LAST, help=f"Take so many calls at most.  [{LAST}]"
)
@click.option(
    "--policy",
    type=click.Choice(POLICIES),
    default="identical",
    help="What passes: the same in everything; the same end, whatever the output; all.  [identical]",
)
@click.option(
    "--fuel", "fuel_percent", type=PERCENT, metavar="PERCENT", help="Let it use so much more fuel at most."
)
@click.option(
    "--memory", "memory_percent", type=PERCENT, metavar="PERCENT", help="Let it use so much more memory at most."
)
@click.option(
    "--env", type=KeyValueType(), multiple=True, help="A secret variable of the old calls, which the server hides."
)
@click.option("--runtime", help="What runs a FILE.  [what runs OLD]")
@click.option("--engine", type=click.Choice(ENGINES), help="What makes the code run.  [cranelift]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Give a call up after.  [60]",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=PROCESSES,
    metavar="N",
    help="Replay so many at once.  [one per CPU, 4 at most]",
)
@click.option(
    "-o", "--output", "file", type=NEW_FILE, metavar="FILE", help="Keep the evidence in this file, as JSON."
)
@remote_command
def gate(
    remote: Remote,
    old: Id | str,
    new: Path | Id | str,
    policy: GatePolicy,
    file: Path | None,
    runtime: str | None,
    **options: Any,
) -> None:
    """Replay an old lambda's calls against new code, and say what differs.

    OLD is a lambda whose jobs are recorded or deterministic, or FUNCTION/REVISION with recorded calls; NEW a
    file with code, or a lambda. The newest calls are run again on this machine. Nothing is granted, and nobody is
    asked: what the old code got from outside is in its journals, and to ask for anything else is a finding. The
    exit code is 0 when NEW passes, 1 when it does not, and 3 when there are no records to go by.
    """
    then = remote.client.lambda_(old)
    with _find_code(remote, then, new, runtime) as candidate:
        bounds = GateBounds(
            policy=policy,
            fuel_percent=options["fuel_percent"],
            memory_percent=options["memory_percent"],
        )
        chosen = GateOptions(
            bounds, options["last"], options["engine"], options["timeout_s"], options["processes"]
        )
        revision, env = find_function(remote.client, then), dict(options["env"])
        old_code = find_calls(remote.client, *revision, env) if revision else find_jobs(remote.client, then, env)
        found = run_gate(old_code, candidate, chosen)
    if file is not None:
        file.write_bytes(encode(found) + b"\n")
    show_evidence(remote, found)
    if not found.passed:
        raise Exit(FAILED)


def show_evidence(remote: Remote, found: GateEvidence) -> None:
    """Show what came of a gate."""
    if remote.display.as_json:
        remote.display.document(to_document(found))
    else:
        remote.display.fields(describe_evidence(found))


@contextmanager
def _find_code(remote: Remote, old: LambdaInfo, new: Path | Id | str, runtime: str | None) -> Iterator[Candidate]:
    """Yield the new code in a file, and what runs it."""
    if isinstance(new, Path):
        if new == STDIN:
            raise click.UsageError("give the new code as a file: it is read several times.")
        yield Candidate(new, old.runtime if runtime is None else resolve_name(remote.client, runtime))
        return
    try:
        info = remote.client.lambda_(new)
    except NotFound as error:
        raise click.ClickException(f"there is no file {str(new)!r}, and {error.message}.") from error
    with tempfile.TemporaryDirectory(prefix="piecework-gate-") as folder:
        path = Path(folder) / "code"
        remote.client.download(info.codex, path)
        yield Candidate(path, info.runtime if runtime is None else resolve_name(remote.client, runtime))
