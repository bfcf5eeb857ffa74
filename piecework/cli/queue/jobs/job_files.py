"""What commands do with files that jobs gave back."""

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from piecework.cli.failures import warn
from piecework.cli.remote import Remote
from piecework.cli.screen.display import to_document
from piecework.cli.screen.progress import counting
from piecework.client.queue.jobs.job_files import ARCHIVES
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobFile


def fetch_files(remote: Remote, job: Id, folder: Path) -> None:
    """Write the files that a job gave back to a directory, and list them."""
    files = _require_files(remote, job)
    with counting("fetching", len(files)) as advance:
        for file in files:
            path = folder / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            remote.client.download(file.blob, path, checksum=file.checksum or None)
            advance()
    if remote.display.as_json:
        remote.display.document([to_document(each) | {"file": str(folder / each.name)} for each in files])
    else:
        warn(f"wrote {_count(files)} to {folder}")


def archive_files(remote: Remote, job: Id, path: Path) -> None:
    """Write the files that a job gave back into an archive."""
    if not path.name.endswith(ARCHIVES):
        raise click.UsageError(f"--archive is {path.name!r}; its name ends with {', '.join(ARCHIVES)}.")
    files = _require_files(remote, job)
    remote.client.archive_files(job, path)
    if remote.display.as_json:
        remote.display.document({"id": str(job), "file": str(path), "files": len(files)})
    else:
        warn(f"wrote {_count(files)} to {path}")


def find_file(remote: Remote, job: Id, name: str) -> JobFile:
    """Return a file that a job gave back. Raises click.ClickException when there is none of the name."""
    files = _require_files(remote, job)
    found = next((each for each in files if each.name == name), None)
    if found is None:
        known = ", ".join(each.name for each in files[:10]) + (", …" if len(files) > 10 else "")
        raise click.ClickException(f"job {job} gave back no file {name!r}, but {known}.")
    return found


def _require_files(remote: Remote, job: Id) -> list[JobFile]:
    files = remote.client.output_files(job)
    if not files:
        raise click.ClickException(f"job {job} gave back no files: --collect, or `outputs`, says which it does.")
    return files


def _count(files: Sequence[JobFile]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files):,} files"
