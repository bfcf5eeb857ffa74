"""`piecework lambda`: code with its runtime and defaults."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED
from piecework.cli.options import FILE_OR_ID, FILE_OR_LAMBDA, LAMBDA, MIB, MODULE, lambda_options, runtime_options
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_age, format_bytes
from piecework.cli.screen.function_rows import describe_pairs
from piecework.cli.screen.rests import tell_rest
from piecework.cli.stock.code import put_code, read_code
from piecework.modules import Inspection, ModuleError, inspect_code
from piecework.protocol.ids import Id
from piecework.protocol.messages import Grants, LambdaCreate, LambdaInfo, Limits
from piecework.protocol.names import ModuleName


@click.group("lambda")
def lambda_() -> None:
    """Create lambdas and look at them."""


@lambda_.command
@click.argument("code", metavar="[FILE|ID]", type=FILE_OR_ID, required=False)
@click.option("--module", type=MODULE, help="Take the code from the registry: ORG/MODULE/TAG[@sha256:HEX].")
@runtime_options
@click.option("--name", help="A name for people.")
@lambda_options
@click.option("--deterministic", is_flag=True, help="Take clock and random from the job.")
@click.option(
    "--mode",
    type=click.Choice(["text", "json", "http"]),
    default="text",
    help="http: inputs and outputs are HTTP requests and responses; json: Capsule's handler of JSON.  [text]",
)
@remote_command
def create(remote: Remote, code: Path | Id | None, module: ModuleName | None, **options: Any) -> None:
    """Create a lambda from a file, - (standard input), an uploaded blob or a module, and print its id."""
    if (code is None) == (module is None):
        raise click.UsageError("give the code: FILE, ID or --module, and only one of them.")
    source = remote.client.module(module).data if module is not None else code
    assert source is not None, "one of the two is given"
    remote.if_interrupted = "no lambda was created"
    codex, runtime = put_code(remote.client, source, options.pop("runtime"))
    remote.if_interrupted = "the lambda may have been created: 'piecework lambda list' shows it then"
    created = remote.client.create_lambda(describe_lambda(codex, runtime, **options))
    if remote.display.as_json:
        remote.display.document({"id": str(created), "codex": str(codex), "runtime": runtime})
    else:
        remote.display.line(created)


@lambda_.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, limit: int) -> None:
    """List lambdas, newest first."""
    found = list(remote.client.lambdas(limit + 1))
    if len(found) > limit:
        tell_rest(limit)
    found = found[:limit]
    now = time.time()
    rows = (
        (each.id, each.runtime, each.name, str(each.codex), format_age(each.created_at, now)) for each in found
    )
    remote.display.listing(found, ["id", "runtime", "name", "codex", "created"], rows, less=["codex"])


@lambda_.command
@click.argument("lambda_id", metavar="ID", type=LAMBDA)
@remote_command
def show(remote: Remote, lambda_id: Id) -> None:
    """Show everything about a lambda."""
    info = remote.client.lambda_(lambda_id)
    if remote.display.as_json:
        remote.display.document(to_document(info))
    else:
        remote.display.fields(_fields(info))


@lambda_.command
@click.argument("code", metavar="FILE|ID", type=FILE_OR_LAMBDA)
@remote_command
def inspect(remote: Remote, code: Path | Id) -> None:
    """Tell what code is, which runtimes can run it and what it needs: of a file, a blob or a lambda.

    Nothing is run, and for a file no server is asked. Exit code 1 when it is wasm that no runtime can run.
    """
    try:
        found = inspect_code(read_code(remote.client, code))
    except ModuleError as error:
        raise click.ClickException(f"{error}.") from error
    if remote.display.as_json:
        remote.display.document(asdict(found))
    else:
        remote.display.fields(describe_inspection(found))
    if found.pure is not None and not found.runtimes:
        raise Exit(FAILED)


def describe_inspection(found: Inspection) -> dict[str, object]:
    """Return what was seen of some code as fields to show."""
    return {
        "kind": found.kind,
        "size": format_bytes(found.size),
        "SHA-256": found.sha256,
        "runtimes": found.runtimes or (None if found.pure is None else "none"),
        "default chooses": found.default,
        "generation": found.generation,
        "imports": ", ".join(found.imports),
        "exports": ", ".join(found.exports),
        "memory": format_bytes(found.memory_bytes) if found.memory_bytes is not None else None,
        "memory at most": format_bytes(found.memory_max_bytes) if found.memory_max_bytes is not None else None,
        "grants": found.grants,
        "pure": None if found.pure is None else "yes" if found.pure else "no",
        **{f"not {runtime}": why for runtime, why in found.refusals.items() if not found.runtimes},
    }


def describe_lambda(codex: Id, runtime: str, **options: Any) -> LambdaCreate:
    """Turn the options of a command into a lambda; those it does not have stay at their defaults."""
    return LambdaCreate(
        codex=codex,
        runtime=runtime,
        name=options.get("name"),
        tags=list(options.get("tags", ())),
        args=list(options.get("args", ())),
        env=dict(options.get("env", ())),
        limits=read_limits(**options),
        grants=read_grants(**options),
        deterministic=options.get("deterministic", False),
        mode=options.get("mode", "text"),
    )


def read_limits(**options: Any) -> Limits:
    """Return the limits that a command's options name."""
    return Limits(
        timeout_s=options.get("timeout_s"),
        memory_bytes=memory_bytes(options.get("memory_mb")),
        fuel=options.get("fuel"),
        output_bytes=options.get("max_output"),
        log_bytes=options.get("max_log"),
    )


def read_grants(**options: Any) -> Grants:
    """Return the grants that a command's options name."""
    return Grants(
        http=list(options.get("grant_http", ())),
        redis=options.get("grant_redis", False),
        files=options.get("grant_files"),
        dirs=list(options.get("grant_dir", ())),
        env=list(options.get("grant_env", ())),
    )


def memory_bytes(memory_mb: int | None) -> int | None:
    return None if memory_mb is None else memory_mb * MIB


def _fields(info: LambdaInfo) -> dict[str, object]:
    return {
        "id": info.id,
        "name": info.name,
        "runtime": info.runtime,
        "codex": info.codex,
        "code size": format_bytes(info.codex_size),
        "code SHA-256": info.codex_checksum,
        "created": format_age(info.created_at, time.time()),
        "tags": info.tags,
        "args": info.args,
        "env": [f"{name}={value}" for name, value in info.env.items()] if info.env else None,
        "limits": describe_pairs(info.limits),
        "grants": describe_pairs(info.grants),
        "deterministic": "yes" if info.deterministic is True else None,
        "mode": info.mode if info.mode != "text" else None,
    }
