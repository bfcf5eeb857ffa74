"""Lambdas that are created only when they pass a gate: their name's newest lambda is the old one."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from piecework.cli.failures import warn
from piecework.cli.gating import (
    LAST,
    POLICIES,
    Candidate,
    GateOptions,
    NoRecords,
    find_jobs,
    run_gate,
)
from piecework.cli.options.kinds import STDIN
from piecework.cli.remote import Remote
from piecework.cli.screen.gate_rows import list_findings, summarize
from piecework.cli.stock.code import find_runtime, read_code
from piecework.client import NotFound
from piecework.protocol.ids import Id
from piecework.protocol.messages import GateEvidence
from piecework.receipts.gates import GateBounds

F = TypeVar("F", bound=Callable[..., Any])
SHOWN = 5
"""So many findings are told of a lambda that is not created."""


def gate_options(command: F) -> F:
    """Add the options of a gate."""
    for option in (
        click.option(
            "--gate-policy",
            type=click.Choice(POLICIES),
            help="What passes; see 'piecework gate --help'.  [identical]",
        ),
        click.option("--gate-last", type=click.IntRange(1, 10_000), help=f"Take so many calls at most.  [{LAST}]"),
        click.option(
            "--gate",
            is_flag=True,
            help="Replay the calls of the newest lambda of this name first, and create it only if it passes.",
        ),
    ):
        command = option(command)
    return command


def read_gate(
    *, gate: bool, gate_last: int | None, gate_policy: Any, name: str | None, reuse: bool, **_: Any
) -> GateOptions | None:
    """Return the gate that is asked for, if one is. Raises click.UsageError."""
    if not gate:
        if gate_last is not None or gate_policy is not None:
            raise click.UsageError("--gate-last and --gate-policy go with --gate.")
        return None
    if name is None:
        raise click.UsageError("--gate needs --name: the newest lambda of that name is what it is compared with.")
    if reuse:
        raise click.UsageError("give one of --gate and --reuse: one that is there is not changed.")
    return GateOptions(GateBounds(policy=gate_policy or "identical"), gate_last or LAST)


def pass_gate(
    remote: Remote, name: str, code: Path | Id, runtime: str | None, options: GateOptions, env: Mapping[str, str]
) -> GateEvidence:
    """Return what the gate found when it lets the code through. Raises click.ClickException when it does not.

    ``env``: variables of the old calls whose values the server hides.
    """
    if code == STDIN:
        raise click.UsageError("with --gate, give the code as a file: it is read several times.")
    try:
        old = remote.client.lambda_(name)
    except NotFound as error:
        raise NoRecords(
            f"there is no lambda {name!r} yet: create the first without --gate, with --record or --deterministic."
        ) from error
    _, found = find_runtime(remote.client, code, runtime)
    with tempfile.TemporaryDirectory(prefix="piecework-gate-") as folder:
        file = code
        if isinstance(file, Id):
            file = Path(folder) / "code"
            file.write_bytes(read_code(remote.client, code))
        evidence = run_gate(find_jobs(remote.client, old, env), Candidate(file, found), options)
    if not evidence.passed:
        findings = list(list_findings(evidence).items())[:SHOWN]
        told = "".join(f"\n  {job}, {finding}" for job, finding in findings)
        raise click.ClickException(f"no lambda was created: the gate was {summarize(evidence)}{told}")
    warn(f"the gate was {summarize(evidence)}")
    return evidence
