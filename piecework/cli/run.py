"""`piecework run`."""

from functools import partial
from pathlib import Path
from typing import Any

import rich_click as click

from piecework.cli.code import put_code
from piecework.cli.data import put_file
from piecework.cli.lambdas import describe_lambda
from piecework.cli.options import FILE_OR_STDIN, runtime_options
from piecework.cli.remote import Remote, remote_command
from piecework.cli.waiting import cancel_left, explaining
from piecework.cli.watching import show_result, watch_job


@click.command
@click.argument("file", metavar="FILE", type=FILE_OR_STDIN)
@click.option("--input", "input_file", metavar="FILE|-", type=FILE_OR_STDIN, help="Give it this as its input.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write its output here.")
@runtime_options
@remote_command
def run(remote: Remote, file: Path, input_file: Path | None, output: Path | None, **options: Any) -> None:
    """Run a wasm file, or a script, as one job and print its output.

    Uploads the file, creates a lambda, submits a job and waits for it. The job's log goes to stderr. A failure
    is not tried again. Ctrl-C cancels the job.
    """
    codex, runtime = put_code(remote.client, file, options.pop("runtime"))
    created = remote.client.create_lambda(describe_lambda(codex, runtime, **options))
    given = None if input_file is None else put_file(remote.client, input_file).id
    job = remote.client.submit(created, given, max_attempts=1)
    with explaining(partial(cancel_left, remote.client, job)):
        result = watch_job(remote.patient_client, job)
    show_result(remote, result, output)
