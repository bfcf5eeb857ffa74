"""Waiting for a job in front of the user: its log on stderr, its output on stdout."""

import sys
from contextlib import nullcontext
from pathlib import Path

from rich.status import Status

from piecework.cli.queue.waiting import telling_why
from piecework.cli.remote import Remote
from piecework.cli.screen.display import stderr_console, to_document, write_output, write_text
from piecework.client import Client, JobResult
from piecework.files import naming
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobInfo


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

    Raises JobFailed when it has none (the document is printed all the same).
    """
    if remote.display.as_json:
        remote.display.document(to_document(result.info) | output_field(result))
        result.read()
    elif output is not None:
        data = result.read()
        with naming(output):
            output.write_bytes(data)
    else:
        write_output([result.read()])


def output_document(info: JobInfo, output: bytes) -> dict[str, str]:
    """Return an output as ``text`` when it is UTF-8, else as ``base64``, with its blob's id."""
    blob = info.output.id if isinstance(info.output, Content) else Id(0)
    return to_document(Content.of(output, packed=False, blob=blob))


def output_field(result: JobResult) -> dict[str, object]:
    """Return a result's output as the field that replaces the job's own; nothing when it has none."""
    return {"output": output_document(result.info, result.output)} if result.ok else {}
