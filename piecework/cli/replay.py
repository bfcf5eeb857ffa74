"""`piecework replay`."""

import subprocess
import sys
from pathlib import Path

import rich_click as click
from click.exceptions import Exit

from piecework.cli.remote import Remote, remote_command

_PROGRAM = (sys.executable, "-P", "-c", "from piecework.worker_agent.cli import main; main()", "replay")
ENGINES = ("cranelift", "cranelift-none", "pulley")


@click.command
@click.argument("bundle", metavar="BUNDLE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--engine", type=click.Choice(ENGINES), help="What runs the code.  [cranelift]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Give up after this.  [3600]",
)
@remote_command
def replay(remote: Remote, bundle: Path, engine: str | None, timeout_s: float | None) -> None:
    """Do a run again on this machine, and say whether it came to the same.

    Nothing is granted and nobody is asked: what the guest got from outside comes from its journal. No server is
    needed. The exit code is 0 when the run is identical, 1 when it differs, and 3 when nothing follows: it ended
    in a way that depends on the machine, or its journal was full before.
    """
    options = [] if engine is None else ["--engine", engine]
    options += [] if timeout_s is None else ["--timeout", f"{timeout_s:g}"]
    options += ["--json"] if remote.display.as_json else []
    code = subprocess.run([*_PROGRAM, *options, "--", str(bundle)], check=False).returncode  # noqa: S603  # ours
    if code:
        raise Exit(code)
