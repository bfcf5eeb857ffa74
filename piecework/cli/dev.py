"""`piecework dev`."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED
from piecework.cli.screen.display import write_output, write_text
from piecework.durations import DURATION, format_duration
from piecework.testing.guests import GuestRun, run_guest
from piecework.workshop import BuildFailed, WorkshopError, build, find_build_line

LOOK_S = 0.2
"""How often is looked for a change."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--input",
    "input_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Give it this as its input; a change of it counts, too.",
)
@click.option("--text", metavar="TEXT", help="Give it this as its input.")
@click.option("--env", metavar="K=V", multiple=True, help="A variable of it; can be repeated.")
@click.option("--runtime", metavar="NAME", help="What runs it.  [what the code is for]")
@click.option("--build", "command", metavar="COMMAND", help="Build it so.  [what follows build: in FILE]")
@click.option("--timeout", "timeout_s", type=DURATION, default="10s", show_default=True, metavar="DURATION",
              help="Stop it after this.")  # fmt: skip
@click.option("--once", is_flag=True, help="Build and run it once; the exit code is its own, or 1.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("args", nargs=-1, metavar="[ARG]...")
def dev(
    file: Path,
    args: tuple[str, ...],
    input_file: Path | None,
    text: str | None,
    env: tuple[str, ...],
    runtime: str | None,
    command: str | None,
    timeout_s: float,
    *,
    once: bool,
) -> None:
    """Build and run a function whenever it changes.

    FILE is a source, a script or a wasm file. It is built and run at once, and after each change until Ctrl-C, in
    a sandbox of this machine, without a server. ARGs are its command line. A change of a file beside it that ends
    as it does, or of its input, counts as well.
    """
    if input_file is not None and text is not None:
        raise click.UsageError("--input and --text exclude each other.")
    if wrong := next((each for each in env if "=" not in each), None):
        raise click.UsageError(f"--env takes NAME=VALUE, not {wrong!r}.")
    try:
        if command is None:
            find_build_line(file)
    except WorkshopError as error:
        raise click.UsageError(f"{error}; or give --build.") from error

    def turn() -> int:
        given = input_file.read_bytes() if input_file else (text or "")
        variables = dict(each.split("=", 1) for each in env)
        return _turn(file, command, lambda built: run_guest(
            built, given, args=args, env=variables, runtime=runtime, timeout_s=timeout_s
        ))  # fmt: skip

    if once:
        if code := turn():
            raise Exit(code)
        return
    for _ in _changes(file, input_file):
        turn()
        _say(f"waiting for a change of {file}; Ctrl-C ends")


def _turn(file: Path, command: str | None, run: Callable[[Path], GuestRun]) -> int:
    """Build and run once, say what came of it, and return the exit code."""
    began = time.monotonic()
    try:
        built = build(file, command)
    except BuildFailed as error:
        _say(f"the build failed:\n{error}")
        return FAILED
    if built != file:
        _say(f"built {built.name} ({built.stat().st_size:,} bytes) in {_since(began)}")
    began = time.monotonic()
    ran = run(built)
    write_output([ran.output])
    if ran.log:
        _say(ran.log.removesuffix("\n"))
    _say(f"exit code {ran.exit_code}, {len(ran.output):,} bytes, in {_since(began)}")
    return ran.exit_code


def _say(text: str) -> None:
    write_text(f"{text}\n", err=True)


def _changes(file: Path, input_file: Path | None) -> Iterator[None]:
    """Yield now, and whenever something changed since."""
    seen, pause = None, threading.Event()
    while True:
        now = _look(file, input_file)
        if now != seen:
            seen = now
            yield
        else:
            pause.wait(LOOK_S)


def _look(file: Path, input_file: Path | None) -> dict[Path, tuple[int, int]]:
    watched = [*file.absolute().parent.glob(f"*{file.suffix}"), *([input_file] if input_file else [])]
    found = {}
    for path in watched:
        try:
            found[path] = (path.stat().st_mtime_ns, path.stat().st_size)
        except OSError:  # an editor is about to replace it
            continue
    return found


def _since(began: float) -> str:
    return format_duration(time.monotonic() - began)
