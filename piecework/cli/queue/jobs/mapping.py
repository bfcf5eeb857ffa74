"""`piecework job map`: a lambda on each of many files, or on each line of standard input."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED, warn
from piecework.cli.options.kinds import LAMBDA
from piecework.cli.queue.jobs.submit import job_options, submission_options
from piecework.cli.queue.jobs.waiting import describe_ends, explaining, telling_why
from piecework.cli.queue.jobs.watching import output_field
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document, write_output
from piecework.client import JobResult
from piecework.client.queue.jobs.results import failure
from piecework.files import naming
from piecework.protocol.ids import Id

STDIN = Path("-")
FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.command("map")
@click.argument("lambda_id", metavar="LAMBDA", type=LAMBDA)
@click.argument("files", metavar="[FILE...]", nargs=-1, type=FILE)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each file's output to a file of its name in this directory.",
)
@submission_options
@remote_command
def map_(remote: Remote, lambda_id: Id | str, files: Sequence[Path], output: Path | None, **options: Any) -> None:
    """Run a lambda on each file, or on each line of standard input (-), and print the outputs in that order.

    An output is printed as soon as those before it are; one that does not end with a line break gets one. With
    --json, prints a document on each line. A job that fails is told on stderr and does not stop the others; then
    the exit code is 1. Ctrl-C cancels what has not ended.
    """
    files = () if files == (STDIN,) else files
    _check(files, output)
    inputs = files or _lines(sys.stdin.buffer)
    bar = bool(files) and (output is not None or not sys.stdout.isatty())  # not among the outputs
    ids: list[Id] = []
    mapped = remote.patient_client.map(
        lambda_id, inputs, errors="return", progress=bar, submitted=ids.extend, **job_options(**options)
    )
    failed = number = 0
    with (
        telling_why(remote.client, lambda: next(iter(ids[number:]), None)),
        explaining(lambda: describe_ends(remote.client, ids[number:]) if ids[number:] else "no job was left"),
        closing(mapped) as results,
    ):
        for number, result in enumerate(results, 1):
            _show(remote, str(files[number - 1]) if files else f"line {number}", result, output)
            failed += not result.ok
    if failed:
        raise Exit(FAILED)


def _check(files: Sequence[Path], output: Path | None) -> None:
    """Make the output directory. Raises click.UsageError for names that do not go together."""
    if STDIN in files:
        raise click.UsageError("- is the lines of standard input, and goes with no files.")
    if output is None:
        return
    if not files:
        raise click.UsageError("--output is for files: lines have no names.")
    twice = [name for name, count in Counter(file.name for file in files).items() if count > 1]
    if twice:
        raise click.UsageError(f"--output would have several files named {twice[0]}.")
    if output.resolve() in {file.resolve().parent for file in files}:
        raise click.UsageError("--output would overwrite the inputs: name another directory.")
    output.mkdir(parents=True, exist_ok=True)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    for line in stream:
        yield line.removesuffix(b"\n").removesuffix(b"\r")


def _show(remote: Remote, name: str, result: JobResult, directory: Path | None) -> None:
    """Write an output where it belongs, or tell why there is none."""
    if remote.display.as_json:
        remote.display.record({"source": name} | to_document(result.info) | output_field(result))
    elif not result.ok:
        warn(f"{name}: {failure(result.info)}")
    elif directory is None:
        write_output([result.output, b"" if result.output.endswith(b"\n") else b"\n"])
    if directory is not None and result.ok:
        with naming(directory / Path(name).name) as path:
            path.write_bytes(result.output)
