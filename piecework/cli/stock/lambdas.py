"""`piecework lambda`: code with its runtime and defaults."""

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit
from msgspec import UNSET

from piecework.cli.failures import FAILED
from piecework.cli.options.job_files import COLLECT_OPTION
from piecework.cli.options.kinds import (
    LAMBDA,
    MIB,
    NEW_NAME,
    OK_CODE_OPTION,
    lambda_options,
    limit_options,
    read_rate,
    runtime_options,
)
from piecework.cli.options.kv_grants import kv_grant_option, read_kv_grants
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import describe_limit, format_age, format_bytes, format_stay
from piecework.cli.screen.function_rows import describe_pairs
from piecework.cli.screen.gate_rows import list_findings, summarize
from piecework.cli.screen.job_rows import list_ok_codes
from piecework.cli.screen.rests import tell_rest
from piecework.cli.stock.code import put_lambda, read_code
from piecework.cli.stock.gated import gate_options, pass_gate, read_gate
from piecework.cli.stock.oci import FILE_ID_OR_OCI, FILE_LAMBDA_OR_OCI, MODULE_OR_OCI, fetched, plain_http_option
from piecework.cli.stock.verifying import VERIFY, describe_verify, read_verify
from piecework.client import NotFound
from piecework.modules import Inspection, ModuleError, inspect_code
from piecework.oci.references import Reference
from piecework.protocol.ids import Id
from piecework.protocol.messages import Grants, LambdaCreate, LambdaInfo, Limits, given
from piecework.protocol.names import ModuleName
from piecework.text.durations import RETENTION


@click.group("lambda")
def lambda_() -> None:
    """Create lambdas, look at them, delete them."""


@lambda_.command
@click.argument("code", metavar="[FILE|ID]", type=FILE_ID_OR_OCI, required=False)
@click.option(
    "--module",
    type=MODULE_OR_OCI,
    help="Take the code from the registry, ORG/MODULE/TAG[@sha256:HEX], or from an OCI registry, oci://HOST/NAME:TAG.",
)
@runtime_options
@click.option("--name", type=NEW_NAME, help="What to call it by; a newer lambda may take the name over.")
@lambda_options
@OK_CODE_OPTION
@kv_grant_option
@click.option("--deterministic", is_flag=True, help="Take clock and random from the job.")
@click.option(
    "--record", is_flag=True, help="Write what comes from outside into a journal; not with --deterministic."
)
@click.option(
    "--verify",
    type=VERIFY,
    metavar="N|P%",
    help="So many owners' workers must agree on each result; or two, on a share of what trusted ones give.",
)
@click.option("--diverse", is_flag=True, help="With --verify: one of those must use another engine.")
@click.option("--memo", is_flag=True, help="Run equal jobs once; with --deterministic only.")
@click.option(
    "--receipts",
    is_flag=True,
    help="Take no result without a receipt of its worker; with --deterministic or --record.",
)
@click.option("--reuse", is_flag=True, help="Print the id of one that is the same, if there is one.")
@click.option(
    "--mode",
    type=click.Choice(["text", "json", "http"]),
    default="text",
    help="http: inputs and outputs are HTTP requests and responses; json: Capsule's handler of JSON.  [text]",
)
@COLLECT_OPTION
@gate_options
@click.option(
    "--retain",
    "retain_s",
    type=RETENTION,
    metavar="DURATION|never",
    help="Remove its jobs so long after their end: 0 (once they were read), 1h, 30d.",
)
@limit_options
@plain_http_option
@remote_command
def create(
    remote: Remote,
    code: Path | Id | Reference | None,
    module: ModuleName | Reference | None,
    *,
    plain_http: bool,
    **options: Any,
) -> None:
    """Create a lambda from a file, - (standard input), an uploaded blob or a module, and print its id.

    A module of an OCI registry, oci://HOST/NAME:TAG, is pulled by this machine, which sends it to the server.
    """
    if (code is None) == (module is None):
        raise click.UsageError("give the code: FILE, ID or --module, and only one of them.")
    source = remote.client.module(module).data if isinstance(module, ModuleName) else module or code
    assert source is not None, "one of the two is given"

    def tell() -> None:
        remote.if_interrupted = "the lambda may have been created: 'piecework lambda list' shows it then"

    remote.if_interrupted = "no lambda was created"
    if options["reuse"]:
        tell()
    runtime, gate = options.pop("runtime"), read_gate(**options)
    with fetched(source, plain_http=plain_http) as (found, pulled):
        described = describe_lambda(**options)
        described.source = pulled or UNSET
        if gate is not None:
            env = dict(options["env"])
            described.gate = pass_gate(remote, options["name"], found, runtime, gate, env)
        created, runtime = put_lambda(remote.client, found, runtime, described, tell)
    if remote.display.as_json:
        codex = remote.client.lambda_(created).codex
        document = {"id": str(created), "codex": str(codex), "runtime": runtime}
        remote.display.document(document | ({"pulled": pulled} if pulled else {}))
    else:
        remote.display.line(created)


@lambda_.command("list")
@click.option("--name", help="Only those of this name.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, name: str | None, limit: int) -> None:
    """List lambdas, newest first."""
    found = list(remote.client.lambdas(limit + 1, name=name))
    if len(found) > limit:
        tell_rest(limit)
    found = found[:limit]
    now = time.time()
    rows = ((each.id, each.runtime, each.name, each.codex, format_age(each.created_at, now)) for each in found)
    remote.display.listing(found, ["id", "runtime", "name", "codex", "created"], rows, less=["codex"])


@lambda_.command
@click.argument("lambda_id", metavar="LAMBDA", type=LAMBDA)
@remote_command
def show(remote: Remote, lambda_id: Id | str) -> None:
    """Show everything about a lambda: of one with this id, or of the newest of this name."""
    info = remote.client.lambda_(lambda_id)
    if remote.display.as_json:
        remote.display.document(to_document(info))
    else:
        remote.display.fields(_fields(info))


@lambda_.command
@click.argument("lambda_ids", metavar="LAMBDA...", nargs=-1, required=True, type=LAMBDA)
@click.option("--cancel", is_flag=True, help="Cancel its jobs that have not ended; else they keep it.")
@remote_command
def delete(remote: Remote, lambda_ids: tuple[Id | str, ...], *, cancel: bool) -> None:
    """Delete lambdas, of a name the newest; refused while jobs of one have not ended.

    Jobs that have ended keep what they were run with until they are removed. Then the code goes, too.
    """
    remote.apply_to_all(lambda_ids, partial(remote.client.delete_lambda, cancel=cancel), "deleted")


@lambda_.command
@click.argument("lambda_id", metavar="LAMBDA", type=LAMBDA)
@remote_command
def memos(remote: Remote, lambda_id: Id | str) -> None:
    """Tell what is kept of a lambda's code for equal jobs (--memo), and how many were answered with it."""
    info = remote.client.memos(lambda_id)
    if remote.display.as_json:
        remote.display.document(to_document(info))
        return
    stopped = given(info.stopped_at)
    remote.display.fields(
        {
            "results": info.kept,
            "jobs answered": info.hits,
            "stopped": None if stopped is None else format_age(stopped, time.time()),
            "why": given(info.stopped_why),
        }
    )


@lambda_.command
@click.argument("lambda_ids", metavar="LAMBDA...", nargs=-1, required=True, type=LAMBDA)
@remote_command
def forget(remote: Remote, lambda_ids: tuple[Id | str, ...]) -> None:
    """Forget the results that are kept of lambdas' code for equal jobs, and keep new ones from now on."""
    remote.apply_to_all(lambda_ids, remote.client.forget_memos, "forgotten")


@lambda_.command
@click.argument("code", metavar="FILE|LAMBDA", type=FILE_LAMBDA_OR_OCI)
@plain_http_option
@remote_command
def inspect(remote: Remote, code: Path | Id | str | Reference, *, plain_http: bool) -> None:
    """Tell what code is, which runtimes can run it and what it needs: of a file, a blob, a lambda, oci://….

    Nothing is run, and for a file no server is asked. Exit code 1 when it is wasm that no runtime can run.
    """
    try:
        with fetched(code, plain_http=plain_http) as (source, _):
            found = inspect_code(read_code(remote.client, source))
    except NotFound as error:
        if not isinstance(code, str):
            raise
        raise click.ClickException(f"there is no file {code!r}, and {error.message}.") from error
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


def describe_lambda(**options: Any) -> LambdaCreate:
    """Turn the options of a command into a lambda without code; those it does not have stay at their defaults."""
    keys = ("concurrency_key", "concurrency_limit", "rate_key", "rate_limit", "rate_period_s")
    limited = read_rate(options)
    return LambdaCreate(
        **{key: limited[key] for key in keys if limited.get(key) is not None},
        runtime="",
        reuse=options.get("reuse") or UNSET,
        name=options.get("name"),
        tags=list(options.get("tags", ())),
        args=list(options.get("args", ())),
        env=dict(options.get("env", ())),
        limits=read_limits(**options),
        grants=read_grants(**options),
        ok_codes=list(options.get("ok_codes", ())) or UNSET,
        deterministic=options.get("deterministic", False),
        record=options.get("record") or UNSET,
        verify=read_verify(options.get("verify"), diverse=options.get("diverse", False)),
        memo=options.get("memo") or UNSET,
        receipts=options.get("receipts") or UNSET,
        mode=options.get("mode", "text"),
        outputs=list(options.get("patterns", ())) or UNSET,
        retain_s=options.get("retain_s"),
    )


LIMIT_NAMES = ("memory_mb", "max_files_size", "max_files", "max_open", "stack")
"""Options of a job that are limits, beside its timeout."""


def read_limits(**options: Any) -> Limits:
    """Return the limits that a command's options name."""
    return Limits(
        timeout_s=options.get("timeout_s"),
        memory_bytes=memory_bytes(options.get("memory_mb")),
        fuel=options.get("fuel"),
        output_bytes=options.get("max_output"),
        log_bytes=options.get("max_log"),
        files_bytes=memory_bytes(options.get("max_files_size")),
        files_count=options.get("max_files"),
        open_files=options.get("max_open"),
        stack_bytes=memory_bytes(options.get("stack")),
    )


def read_grants(**options: Any) -> Grants:
    """Return the grants that a command's options name."""
    return Grants(
        http=list(options.get("grant_http", ())),
        redis=options.get("grant_redis", False),
        files=options.get("grant_files"),
        dirs=list(options.get("grant_dir", ())),
        env=list(options.get("grant_env", ())),
        kv=read_kv_grants(options.get("grant_kv", ())),
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
        "pulled from": info.source,
        "gate": None if info.gate is UNSET else summarize(info.gate),
        **list_findings(info.gate),
        "created": format_age(info.created_at, time.time()),
        "tags": info.tags,
        "args": info.args,
        "env": [f"{name}={value}" for name, value in info.env.items()] if info.env else None,
        "limits": describe_pairs(info.limits),
        "grants": describe_pairs(info.grants),
        "exit codes of success": list_ok_codes(given(info.ok_codes)),
        "deterministic": "yes" if info.deterministic is True else None,
        "recorded": "yes" if info.record is True else None,
        "agreement": describe_verify(given(info.verify)),
        "equal jobs": "run once" if info.memo is True else None,
        "receipts": "required" if info.receipts is True else None,
        "mode": info.mode if info.mode != "text" else None,
        "jobs give back": info.outputs,
        "jobs stay": format_stay(info.retain_s),
        "concurrency": describe_limit(info.concurrency_key, info.concurrency_limit),
        "rate": describe_limit(info.rate_key, info.rate_limit, info.rate_period_s),
    }
