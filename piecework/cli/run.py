"""`piecework run`."""

from functools import partial
from pathlib import Path
from typing import Any

import rich_click as click

from piecework.cli.options import FILE_OR_STDIN, STDIN, runtime_options
from piecework.cli.queue.waiting import cancel_left, describe_end, explaining, list_of
from piecework.cli.queue.watching import show_result, watch_job
from piecework.cli.remote import Remote, remote_command
from piecework.cli.stock.code import put_code
from piecework.cli.stock.data import put_file, put_piped_input
from piecework.cli.stock.lambdas import describe_lambda
from piecework.protocol.ids import Id


@click.command
@click.argument("file", metavar="FILE", type=FILE_OR_STDIN)
@click.argument("words", metavar="[ARG]...", nargs=-1)
@click.option("--input", "input_file", metavar="FILE|-", type=FILE_OR_STDIN, help="Give it this as its input.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write its output here.")
@runtime_options
@remote_command
def run(
    remote: Remote,
    file: Path,
    words: tuple[str, ...],
    input_file: Path | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Run a wasm file, or a script, as one job and print its output.

    ARGs are its command line; put -- before those that begin with a dash. What is piped in is its input.

    Uploads the file, creates a lambda, submits a job and waits for it. The job's log goes to stderr. A failure
    is not tried again. Ctrl-C cancels the job.
    """
    remote.if_interrupted = "no job was submitted"
    codex, runtime = put_code(remote.client, file, options.pop("runtime"))
    options["args"] = (*options["args"], *words)
    given = _find_input(remote, file, input_file)
    created = remote.client.create_lambda(describe_lambda(codex, runtime, **options))
    remote.if_interrupted = f"the job may have been submitted: {list_of(created)} shows it then"
    job = remote.client.submit(created, given, max_attempts=1)
    with explaining(partial(cancel_left, remote.client, job)):
        result = watch_job(remote.patient_client, job)
    remote.if_interrupted = describe_end(job)
    show_result(remote, result, output)


def _find_input(remote: Remote, file: Path, input_file: Path | None) -> Id | None:
    """Return the blob with the input: the file that is named, or what is piped in unless that is the code."""
    if input_file is not None:
        return put_file(remote.client, input_file).id
    return None if file == STDIN else put_piped_input(remote.client)
