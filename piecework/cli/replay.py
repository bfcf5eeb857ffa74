"""`piecework replay`."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import rich_click as click
from click.exceptions import Exit

from piecework.cli.options.kinds import WORKER_OR_NAME, FileOrId, KeyValueType
from piecework.cli.queue.jobs.waiting import cancel_left, explaining, telling_why
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.protocol.engines import ENGINES, Engine
from piecework.protocol.ids import Id
from piecework.protocol.messages import REPLAY_S
from piecework.receipts import ReceiptError
from piecework.receipts.replays import EXITS, describe_replay

_PROGRAM = (sys.executable, "-P", "-c", "from piecework.worker_agent.cli import main; main()", "replay")


class ReplayOptions(NamedTuple):
    """How a run is done again."""

    engine: Engine | None
    timeout_s: float


@click.command
@click.argument("what", metavar="JOB|BUNDLE", type=FileOrId("job"))
@click.option(
    "--on",
    "worker",
    type=WORKER_OR_NAME,
    metavar="WORKER",
    help="Do it on this worker: its id, or its name.  [this machine]",
)
@click.option(
    "--engine", type=click.Choice(ENGINES), help="What runs the code.  [cranelift; with --on the worker's own]"
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=REPLAY_S,
    metavar="S",
    help=f"Give up after this.  [{REPLAY_S:g}]",
)
@click.option(
    "--env", type=KeyValueType(), multiple=True, help="A variable of the job whose value the server hides."
)
@remote_command
def replay(
    remote: Remote,
    what: Path | Id,
    worker: Id | str | None,
    env: Sequence[tuple[str, str]],
    engine: Engine | None,
    timeout_s: float,
) -> None:
    """Do a run again, here or on a worker, and say whether it came to the same.

    Nothing is granted and nobody is asked: what the guest got from outside comes from its journal. For a bundle,
    no server is needed; of a job, the server is asked for its receipt, and all that it names. With --on, the
    worker gets these from the server, and this command waits for it; Ctrl-C cancels the replay. The exit code is 0
    when the run is identical, 1 when it differs, and 3 when nothing follows: it ended in a way that depends on the
    machine, or its journal was full before.
    """
    options = ReplayOptions(engine, timeout_s)
    if worker is None:
        code = _replay_here(remote, what, dict(env), options)
    else:
        code = _replay_there(remote, _require_job(what, env), worker, options)
    if code:
        raise Exit(code)


def _replay_here(remote: Remote, what: Path | Id, env: Mapping[str, str], options: ReplayOptions) -> int:
    if env and isinstance(what, Path):
        raise click.UsageError("--env is for a job of a server: a bundle has all its variables.")
    words = ["--timeout", f"{options.timeout_s:g}"]
    words += [] if options.engine is None else ["--engine", options.engine]
    words += ["--json"] if remote.display.as_json else []
    with _find_bundle(remote, what, env) as bundle:
        return subprocess.run([*_PROGRAM, *words, "--", str(bundle)], check=False).returncode  # noqa: S603  # ours


@contextmanager
def _find_bundle(remote: Remote, what: Path | Id, env: Mapping[str, str]) -> Iterator[Path]:
    """Yield the file with a bundle: the one that is named, or one that is put together and goes."""
    if isinstance(what, Path):
        yield what
        return
    with tempfile.TemporaryDirectory(prefix="piecework-replay-") as folder:
        path = Path(folder) / f"job-{what}.bundle"
        try:
            remote.client.bundle(what, path, env=env)
        except ReceiptError as error:
            raise click.ClickException(str(error)) from error
        yield path


def _require_job(what: Path | Id, env: Sequence[tuple[str, str]]) -> Id:
    if isinstance(what, Path):
        raise click.UsageError("--on is for a job of a server: a bundle is replayed here.")
    if env:
        raise click.UsageError("--env is for replays here: a worker gets the variables from the server.")
    return what


def _replay_there(remote: Remote, job: Id, worker: Id | str, options: ReplayOptions) -> int:
    client = remote.patient_client
    remote.if_interrupted = "the replay may have been started: 'piecework job list' shows it then"
    started = client.start_replay(job, worker, engine=options.engine, timeout_s=options.timeout_s)
    with explaining(partial(cancel_left, client, started.id)), telling_why(client, lambda: started.id):
        found = client.end_replay(started.id, options.timeout_s)
    if remote.display.as_json:
        told = {"replay": str(started.id), "worker": str(started.worker)}
        remote.display.document(to_document(found) | told)
    else:
        remote.display.line(describe_replay(found, f"worker {started.worker}"))
    return EXITS[found.verdict]
