"""`piecework replay`."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich_click as click
from click.exceptions import Exit

from piecework.cli.options import FileOrId
from piecework.cli.remote import Remote, remote_command
from piecework.protocol.ids import Id
from piecework.receipts import ReceiptError

_PROGRAM = (sys.executable, "-P", "-c", "from piecework.worker_agent.cli import main; main()", "replay")
ENGINES = ("cranelift", "cranelift-none", "pulley")


@click.command
@click.argument("what", metavar="JOB|BUNDLE", type=FileOrId("job"))
@click.option("--engine", type=click.Choice(ENGINES), help="What runs the code.  [cranelift]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Give up after this.  [3600]",
)
@remote_command
def replay(remote: Remote, what: Path | Id, engine: str | None, timeout_s: float | None) -> None:
    """Do a run again on this machine, and say whether it came to the same.

    Nothing is granted and nobody is asked: what the guest got from outside comes from its journal. For a bundle,
    no server is needed; of a job, the server is asked for its receipt, and all that it names. The exit code is 0
    when the run is identical, 1 when it differs, and 3 when nothing follows: it ended in a way that depends on the
    machine, or its journal was full before.
    """
    options = [] if engine is None else ["--engine", engine]
    options += [] if timeout_s is None else ["--timeout", f"{timeout_s:g}"]
    options += ["--json"] if remote.display.as_json else []
    with _find_bundle(remote, what) as bundle:
        code = subprocess.run([*_PROGRAM, *options, "--", str(bundle)], check=False).returncode  # noqa: S603  # ours
    if code:
        raise Exit(code)


@contextmanager
def _find_bundle(remote: Remote, what: Path | Id) -> Iterator[Path]:
    """Yield the file with a bundle: the one that is named, or one that is put together and goes."""
    if isinstance(what, Path):
        yield what
        return
    with tempfile.TemporaryDirectory(prefix="piecework-replay-") as folder:
        path = Path(folder) / f"job-{what}.bundle"
        try:
            remote.client.bundle(what, path)
        except ReceiptError as error:
            raise click.ClickException(str(error)) from error
        yield path
