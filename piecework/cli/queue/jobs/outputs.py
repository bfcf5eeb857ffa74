"""`piecework job output`: what a job produced, and the files that it gave back."""

import os
from pathlib import Path

import rich_click as click

from piecework.cli.options.kinds import JOB
from piecework.cli.queue.jobs.job_files import archive_files, fetch_files, find_file
from piecework.cli.queue.jobs.watching import output_document
from piecework.cli.remote import Remote, remote_command
from piecework.cli.stock.data import get_blob
from piecework.client.queue.jobs.results import failure
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobInfo, blob_id, given
from piecework.protocol.states import JobState


@click.command
@click.argument("job_id", metavar="ID", type=JOB)
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR",
    help="Write it to this file; or all files that it gave back to this directory, which exists or ends with /.",
)
@click.option(
    "--archive",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all files that it gave back into this .tar, .tar.gz or .zip.",
)
@remote_command
def output(remote: Remote, job_id: Id, name: str | None, output: str | None, archive: Path | None) -> None:
    """Print what a job produced; of one that failed, what it had written by then, and fail with its reason.

    With NAME, a file that it gave back from its own directory.
    """
    is_folder = output is not None and (output.endswith(os.sep) or Path(output).is_dir())
    if archive is not None and (name is not None or output is not None):
        raise click.UsageError("--archive goes neither with NAME nor with --output.")
    info = remote.client.job(job_id)
    if not info.state.is_final:
        raise click.ClickException(f"job {job_id} is {info.state}: see 'piecework job wait {job_id}'.")
    if archive is not None:
        archive_files(remote, job_id, archive)
    elif name is not None:
        path = None if output is None else Path(output, Path(name).name if is_folder else "")
        get_blob(remote, find_file(remote, job_id, name).blob, path)
    elif output is not None and is_folder:
        fetch_files(remote, job_id, Path(output))
    else:
        _get_output(remote, info, None if output is None else Path(output))
    if info.state is not JobState.FINISHED:
        raise failure(info)


def _get_output(remote: Remote, info: JobInfo, path: Path | None) -> None:
    has_finished = info.state is JobState.FINISHED
    blob = blob_id(info.output) if isinstance(info.output, Content) else given(info.failed_output)
    if remote.display.as_json and (blob or has_finished):
        remote.display.document(output_document(blob, remote.client.read(blob) if blob else b""))
    elif blob:
        get_blob(remote, blob, path)
    elif path and has_finished:
        path.write_bytes(b"")
