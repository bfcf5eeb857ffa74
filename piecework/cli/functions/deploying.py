"""`piecework function deploy`."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import rich_click as click
from msgspec import UNSET, UnsetType
from rich.status import Status

from piecework.cli.failures import warn
from piecework.cli.functions.gated import CallsGate, GateType, pass_gate
from piecework.cli.options.completing import list_functions, list_runtimes, offer
from piecework.cli.options.kinds import LAMBDA, NAME, lambda_options, run_options
from piecework.cli.options.kv_grants import kv_grant_option
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import stderr_console, to_document
from piecework.cli.screen.function_rows import describe_replicas
from piecework.cli.stock.code import put_code, resolve_name
from piecework.cli.stock.lambdas import read_grants, read_limits
from piecework.cli.stock.oci import FILE_OR_OCI, MODULE_OR_OCI, fetched, plain_http_option
from piecework.client.functions.functions import find_revision
from piecework.oci.references import LATEST, Reference
from piecework.protocol.ids import Id
from piecework.protocol.messages import CallRecording, DeploymentPut, GateEvidence, Grants, Limits
from piecework.protocol.names import ModuleName, is_name
from piecework.text.durations import DURATION_OR_ZERO
from piecework.text.shares import SHARE

T = TypeVar("T")
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
RESERVED = frozenset({"default", "split"})
"""Names of revisions that mean something else."""
DIGEST_CHARS = 12
"""Of a file's digest, as the name of a revision."""


@click.command
@click.argument("name", type=NAME, shell_complete=offer(list_functions))
@click.option(
    "--module",
    type=MODULE_OR_OCI,
    help="Deploy this module of the registry, or of an OCI registry: oci://HOST/NAME:TAG.",
)
@click.option("--file", metavar="FILE|-", type=FILE_OR_OCI, help="Deploy this file; - is standard input.")
@click.option(
    "--lambda",
    "lambda_id",
    metavar="LAMBDA",
    type=LAMBDA,
    help="Deploy what this lambda runs, with its options.",
)
@click.option(
    "--revision", type=NAME, help="What this version is called; else the module's tag, or the file's digest."
)
@click.option("--replicas", type=click.IntRange(0, 1000), help="So many processes serve it; usually 1.")
@click.option(
    "--runtime", shell_complete=offer(list_runtimes), help="The runtime that it needs; usually found out."
)
@click.option("--default", "is_default", is_flag=True, help="Send the calls that name no revision to this one.")
@click.option(
    "--record",
    type=SHARE,
    metavar="PERCENT",
    help="Record this share of the calls that its replicas answer, such as 5%, for the gate of the next revision.",
)
@click.option(
    "--record-with",
    metavar="NAME",
    multiple=True,
    help="Record calls with this header or parameter, too, although its name looks secret; with its value.",
)
@click.option(
    "--gate",
    type=GateType(),
    metavar="last=N[,POLICY]...",
    help="Replay recorded calls of the revision that gets them first, and deploy only what passes: identical, "
    "same-status or report; more in the guide.",
)
@click.option("--evidence", type=NEW_FILE, metavar="FILE", help="Keep what the gate found in this file, as JSON.")
@click.option("--wait", is_flag=True, help="Wait until its replicas run.")
@click.option(
    "--wait-timeout", type=DURATION_OR_ZERO, default=60, show_default=True, metavar="DURATION",
    help="Wait no longer.",
)  # fmt: skip
@run_options
@lambda_options
@kv_grant_option
@plain_http_option
@remote_command
def deploy(
    remote: Remote,
    name: str,
    *,
    module: ModuleName | Reference | None,
    file: Path | Reference | None,
    lambda_id: Id | str | None,
    revision: str | None,
    wait: bool,
    wait_timeout: float,
    plain_http: bool,
    gate: CallsGate | None,
    evidence: Path | None,
    **options: Any,
) -> None:
    """Make a revision of a function, and have it served by agents that run functions.

    The same again changes nothing but the number of replicas. A revision never changes, so other code or options
    need another name. The first revision of a function gets the calls that name none.
    """
    code = _choose_code(module, file, lambda_id)
    _check_options(options, gate, evidence)
    remote.if_interrupted = f"{name} was not deployed"
    if isinstance(code, str):
        code = remote.client.lambda_(code).id

    def try_code(found: ModuleName | Path | Id) -> GateEvidence | UnsetType:
        if gate is None:
            return UNSET
        return pass_gate(remote, name, found, options["runtime"], dict(options["env"]), gate, evidence)

    stored = _bring(remote, code, try_code, options, plain_http=plain_http)
    chosen = revision or _name_revision(code, stored.digest)
    if chosen in RESERVED:
        raise click.UsageError(f"A revision cannot be called {chosen!r} here: that is how calls are routed.")
    deployment = _describe(
        stored,
        module=str(code) if isinstance(code, ModuleName) else UNSET,
        lambda_=code if isinstance(code, Id) else UNSET,
        **options,
    )
    tells = f"'piecework function show {name}' tells"
    remote.if_interrupted = f"{name}/{chosen} may have been deployed: {tells}"
    remote.client.deploy(name, chosen, deployment)
    remote.if_interrupted = f"{name}/{chosen} is deployed, and its replicas go on: {tells} how they do"
    if wait:
        with Status(f"{name}/{chosen} …", console=stderr_console()) if sys.stderr.isatty() else nullcontext():
            remote.patient_client.await_replicas(name, chosen, wait_timeout)
    _tell(remote, name, chosen)


class _StoredCode(NamedTuple):
    """Code that is to be deployed, where the server finds it."""

    codex: Id | UnsetType = UNSET
    digest: str = ""
    source: str = ""
    """Where it was pulled from; "" when it was not."""
    evidence: GateEvidence | UnsetType = UNSET


def _bring(
    remote: Remote,
    code: ModuleName | Reference | Path | Id,
    try_code: Callable[[ModuleName | Path | Id], GateEvidence | UnsetType],
    options: dict[str, Any],
    *,
    plain_http: bool,
) -> _StoredCode:
    """Try code, then store it unless the server has it. The runtime of a file is put into the options."""
    if isinstance(code, ModuleName | Id):
        if options["runtime"] is not None:
            options["runtime"] = resolve_name(remote.client, options["runtime"])
        return _StoredCode(evidence=try_code(code))
    with fetched(code, plain_http=plain_http) as (file, source):
        evidence = try_code(file)
        codex, options["runtime"] = put_code(remote.client, file, options["runtime"])
    checksum = remote.client.data(codex).checksum
    assert isinstance(checksum, str), "who asks for a blob is answered with it"
    return _StoredCode(codex, checksum, source, evidence)


def _name_revision(code: ModuleName | Reference | Path | Id, digest: str) -> str:
    """Return what a revision is called when nobody says. What is the latest changes, and a revision does not."""
    if isinstance(code, ModuleName) or (isinstance(code, Reference) and code.tag != LATEST and is_name(code.tag)):
        return code.tag
    return digest[:DIGEST_CHARS] or str(int(code) if isinstance(code, Id) else 0)


def _describe(
    stored: _StoredCode,
    module: str | UnsetType,
    lambda_: Id | UnsetType,
    **options: Any,
) -> DeploymentPut:
    """Turn the options into a deployment; what was not given is left to the server, or to the lambda."""
    limits, grants = read_limits(**options), read_grants(**options)
    return DeploymentPut(
        codex=stored.codex,
        source=stored.source or UNSET,
        module=module,
        lambda_=lambda_,
        replicas=_or_unset(options["replicas"]),
        runtime=_or_unset(options["runtime"]),
        args=list(options["args"]) or UNSET,
        env=dict(options["env"]) or UNSET,
        tags=list(options["tags"]) or UNSET,
        limits=UNSET if limits == Limits() else limits,
        grants=UNSET if grants == Grants() else grants,
        record=_read_recording(options),
        gate=stored.evidence,
        default=options["is_default"],
    )


def _choose_code(
    module: ModuleName | Reference | None, file: Path | Reference | None, lambda_id: Id | str | None
) -> ModuleName | Reference | Path | Id | str:
    """Return the one that is given. Raises click.UsageError for none, and for several."""
    given = [each for each in (module, file, lambda_id) if each is not None]
    if len(given) != 1:
        raise click.UsageError("Name the code by one of --module, --file and --lambda.")
    return given[0]


def _check_options(options: dict[str, Any], gate: CallsGate | None, evidence: Path | None) -> None:
    """Raise click.UsageError for options that mean nothing by themselves."""
    if options["record_with"] and options["record"] is None:
        raise click.UsageError("--record-with goes with --record.")
    if evidence is not None and gate is None:
        raise click.UsageError("--evidence goes with --gate.")


def _read_recording(options: dict[str, Any]) -> CallRecording | UnsetType:
    if options["record"] is None:
        return UNSET
    return CallRecording(share=options["record"], kept=list(options["record_with"]))


def _or_unset(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _tell(remote: Remote, name: str, chosen: str) -> None:
    """Say how the new revision stands and where it is called."""
    info = remote.client.function(name)
    if remote.display.as_json:
        remote.display.document(to_document(info))
        return
    found = find_revision(info, chosen)
    if isinstance(found.advice, str):
        warn(f"{found.advice}; until then each call is a job")
    if found.record and not found.wanted:
        warn("without replicas each call is a job, and those are not recorded")
    path = name if found.share == 1 else f"{name}/{chosen}"
    remote.display.line(f"{name}/{chosen}: {describe_replicas(found)}, {remote.client.url}/functions/{path}")
