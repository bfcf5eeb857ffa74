"""`piecework run`."""

from functools import partial
from pathlib import Path
from typing import Any

import rich_click as click

from piecework.cli.failures import GuestFailure
from piecework.cli.options.job_files import COLLECT_OPTION, FILE_OPTION, INTO_OPTION, read_files
from piecework.cli.options.kinds import FILE_OR_STDIN, OK_CODE_OPTION, STDIN, runtime_options
from piecework.cli.options.kv_grants import kv_grant_option
from piecework.cli.queue.jobs.job_files import fetch_files
from piecework.cli.queue.jobs.waiting import cancel_left, describe_end, explaining, list_of
from piecework.cli.queue.jobs.watching import show_result, watch_job
from piecework.cli.remote import Remote, remote_command
from piecework.cli.stock.code import put_lambda
from piecework.cli.stock.data import put_file, put_piped_input
from piecework.cli.stock.lambdas import describe_lambda
from piecework.cli.stock.oci import FILE_OR_OCI, fetched, plain_http_option
from piecework.client import JobFailed, JobOptions
from piecework.oci.references import Reference
from piecework.protocol.ids import Id


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("file", metavar="FILE", type=FILE_OR_OCI)
@click.argument("words", metavar="[ARG]...", nargs=-1)
@click.option("--input", "input_file", metavar="FILE|-", type=FILE_OR_STDIN, help="Give it this as its input.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write its output here.")
@FILE_OPTION
@COLLECT_OPTION
@INTO_OPTION
@runtime_options
@OK_CODE_OPTION
@kv_grant_option
@plain_http_option
@remote_command
def run(
    remote: Remote,
    file: Path | Reference,
    words: tuple[str, ...],
    input_file: Path | None,
    output: Path | None,
    into: Path | None,
    *,
    plain_http: bool,
    **options: Any,
) -> None:
    """Run a wasm file, or a script, as one job and print its output.

    FILE may be a module in an OCI registry, too: oci://HOST/NAME:TAG.

    ARGs are its command line, and so are options that this command has not; put -- before those that both have.
    What is piped in is its input.

    Uploads the file and creates a lambda, unless they are there from before, submits a job and waits for it. The
    job's log goes to stderr. A failure is not tried again: the exit code is the guest's own, or 1 when something
    else ended it, and what it had written by then is printed all the same. Ctrl-C cancels the job.
    """
    remote.if_interrupted = "no job was submitted"
    code = describe_lambda(reuse=True, memory_mb=options["memory_mb"], grant_kv=options["grant_kv"])
    with fetched(file, plain_http=plain_http) as (source, _):
        created, _ = put_lambda(remote.client, source, options["runtime"], code)
    given = _find_input(remote, file, input_file)
    remote.if_interrupted = f"the job may have been submitted: {list_of(created)} shows it then"
    job = remote.client.submit(created, given, **_read_options(words, **options))
    with explaining(partial(cancel_left, remote.client, job)):
        result = watch_job(remote.patient_client, job)
    remote.if_interrupted = describe_end(job)
    try:
        show_result(remote, result, output)
        if into is not None:
            fetch_files(remote, job, into)
    except JobFailed as error:
        if error.exit_code:
            raise GuestFailure(error.job, str(error), error.exit_code) from error
        raise


def _read_options(
    words: tuple[str, ...],
    *,
    args: tuple[str, ...],
    env: tuple[tuple[str, str], ...],
    timeout_s: float | None,
    ok_codes: tuple[int, ...],
    given_files: tuple[tuple[tuple[str, Path], ...], ...],
    patterns: tuple[str, ...],
    **_: Any,
) -> JobOptions:
    """Return what this run differs in from others of the same file."""
    options = JobOptions(args=[*args, *words], env=dict(env), max_attempts=1)
    if ok_codes:
        options["ok_codes"] = list(ok_codes)
    if files := read_files(given_files):
        options |= {"files": files}
    if patterns:
        options["outputs"] = list(patterns)
    return options if timeout_s is None else options | {"timeout_s": timeout_s}


def _find_input(remote: Remote, file: Path | Reference, input_file: Path | None) -> Id | None:
    """Return the blob with the input: the file that is named, or what is piped in unless that is the code."""
    if input_file is not None:
        return put_file(remote.client, input_file).id
    return None if file == STDIN else put_piped_input(remote.client)
