"""Waiting for a job in front of the user: its log on stderr, its output on stdout."""

import sys
from contextlib import nullcontext
from pathlib import Path

from rich.status import Status

from piecework.cli.queue.jobs.waiting import telling_why
from piecework.cli.remote import Remote
from piecework.cli.screen.display import stderr_console, to_document, write_output, write_text
from piecework.client import Client, JobResult
from piecework.files import naming
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobInfo, blob_id, given


def watch_job(client: Client, job: Id) -> JobResult:
    """Wait until a job has ended, passing its log on to stderr, and return how it ended."""
    spinner = Status(f"job {job} …", console=stderr_console()) if sys.stderr.isatty() else None
    with spinner or nullcontext():
        with telling_why(client, lambda: job):
            for text in client.follow_log(job):
                if spinner:
                    spinner.stop()
                write_text(text, err=True)
        _, result = next(client.results([job]))
    return result


def show_result(remote: Remote, result: JobResult, output: Path | None = None) -> None:
    """Write a job's output to a file or to stdout, or the job with its output as a document.

    Raises JobFailed when it failed: after what it had written until then.
    """
    info = result.info
    failed = b"" if result.ok else remote.client.failed_output(info)
    if remote.display.as_json:
        remote.display.document(to_document(info) | output_field(result) | failed_output_field(info, failed))
    elif output is not None and (result.ok or failed):
        with naming(output):
            output.write_bytes(result.output or failed)
    else:
        write_output([result.output or failed])
    result.read()


def output_document(blob: Id | None, output: bytes) -> dict[str, str]:
    """Return an output as ``text`` when it is UTF-8, else as ``base64``, with its blob's id."""
    return to_document(Content.of(output, packed=False, blob=blob or Id(0)))


def output_field(result: JobResult) -> dict[str, object]:
    """Return a result's output as the field that replaces the job's own; nothing when it has none."""
    if not result.ok:
        return {}
    content = result.info.output
    return {"output": output_document(blob_id(content) if isinstance(content, Content) else None, result.output)}


def failed_output_field(info: JobInfo, output: bytes) -> dict[str, object]:
    """Return what a job wrote before it failed as the field that replaces the job's own; nothing without any."""
    if not (blob := given(info.failed_output)):
        return {}
    return {"failed_output": output_document(blob, output)}
