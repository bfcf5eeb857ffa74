"""`piecework dev`."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED
from piecework.cli.local.dev_server import DevServer
from piecework.cli.screen.display import write_output, write_text
from piecework.modules import ModuleError, answers_requests_alone
from piecework.testing.guests import run_guest
from piecework.text.durations import DURATION, format_duration
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
@click.option("--handler", type=click.Choice(["http"]), help="Serve it over HTTP.  [what the code is for]")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, metavar="PORT",
              help="Serve it there; 0: on any free one.  [0]")  # fmt: skip
@click.option("--once", is_flag=True, help="Build and run it once; the exit code is its own, or 1.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("args", nargs=-1, metavar="[ARG]...")
def dev(
    file: Path,
    args: tuple[str, ...],
    input_file: Path | None,
    text: str | None,
    command: str | None,
    handler: str | None,
    port: int,
    *,
    once: bool,
    **options: Any,
) -> None:
    """Build and run a function whenever it changes.

    FILE is a source, a script or a wasm file. It is built and run at once, and after each change until Ctrl-C, in
    a sandbox of this machine, without a server. ARGs are its command line. A change of a file beside it that ends
    as it does, or of its input, counts as well.

    What is for HTTP alone, and with --handler http anything, is served on this machine instead: after a change,
    requests get the new build.
    """
    is_run = once or input_file is not None or text is not None
    _check_options(file, command, options["env"], input_file, text, serves=handler is not None, is_run=is_run)

    def run(built: Path) -> int:
        given = input_file.read_bytes() if input_file else (text or "")
        variables = dict(each.split("=", 1) for each in options["env"])
        return _run(
            built, given, args=args, env=variables, runtime=options["runtime"], timeout_s=options["timeout_s"]
        )

    if once:
        built = _build(file, command)
        if code := FAILED if built is None else run(built):
            raise Exit(code)
        return
    with ExitStack() as exits:
        server: DevServer | None = None
        for _ in _changes(file, input_file):
            built = _build(file, command)
            if built is not None and server is None and (handler or (not is_run and _is_for_requests(built))):
                server = exits.enter_context(_open_server(port, options, args))
            if built is not None:
                (server.show if server else run)(built)
            where = f"requests go to {server.url}; " if server else ""
            _say(f"{where}waiting for a change of {file}; Ctrl-C ends")


def _check_options(
    file: Path,
    command: str | None,
    env: tuple[str, ...],
    input_file: Path | None,
    text: str | None,
    *,
    serves: bool,
    is_run: bool,
) -> None:
    """Raise click.UsageError for what does not go together."""
    if input_file is not None and text is not None:
        raise click.UsageError("--input and --text exclude each other.")
    if serves and is_run:
        raise click.UsageError("--handler is for requests: without --input, --text and --once.")
    if wrong := next((each for each in env if "=" not in each), None):
        raise click.UsageError(f"--env takes NAME=VALUE, not {wrong!r}.")
    try:
        if command is None:
            find_build_line(file)
    except WorkshopError as error:
        raise click.UsageError(f"{error}; or give --build.") from error


def _build(file: Path, command: str | None) -> Path | None:
    """Return what was built; None when that failed, which is told."""
    began = time.monotonic()
    try:
        built = build(file, command)
    except BuildFailed as error:
        _say(f"the build failed:\n{error}")
        return None
    if built != file:
        _say(f"built {built.name} ({built.stat().st_size:,} bytes) in {_since(began)}")
    return built


def _run(built: Path, given: bytes | str, **options: Any) -> int:
    """Run what was built once, say what came of it, and return the exit code."""
    began = time.monotonic()
    ran = run_guest(built, given, **options)
    write_output([ran.output])
    if ran.log:
        _say(ran.log.removesuffix("\n"))
    _say(f"exit code {ran.exit_code}, {len(ran.output):,} bytes, in {_since(began)}")
    return ran.exit_code


def _is_for_requests(built: Path) -> bool:
    try:
        return answers_requests_alone(built.read_bytes())
    except ModuleError:  # whoever runs it says what is wrong
        return False


def _open_server(port: int, options: dict[str, Any], args: tuple[str, ...]) -> DevServer:
    given = ["--timeout", f"{options['timeout_s']:g}"]
    given += [] if options["runtime"] is None else ["--runtime", options["runtime"]]
    for each in options["env"]:
        given += ["--env", each]
    try:
        return DevServer(port, given, args)
    except OSError as error:
        raise click.ClickException(str(error)) from error


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
