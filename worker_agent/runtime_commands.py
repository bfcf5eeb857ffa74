"""``worker-agent runtimes``: what this node can run, and getting it ready for more."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from piecework.worker_agent.config.settings import Settings, SettingsError
from piecework.worker_agent.errors import AgentError, InterpreterError
from piecework.worker_agent.runtimes import RUNTIME_NAMES
from piecework.worker_agent.runtimes.scripting.interpreters import KNOWN, LUA, Interpreter, find_interpreters

INTERPRETERS = [name for each in KNOWN for name in each.names]


def offer(names: Iterable[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes one of some names."""
    return lambda _context, _parameter, word: [name for name in names if name.startswith(word)]


_HELP = {"help_option_names": ["-h", "--help"]}


@click.group(invoke_without_command=True, context_settings=_HELP, short_help="List the runtimes of this node.")
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="As for `run`: where the agent keeps what is compiled.",
)
@click.option(
    "--interpreters",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="As for `run`: where interpreters of this node are.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def runtimes(context: click.Context, /, as_json: bool, **options: Path | None) -> None:
    """List the runtimes of this node, and say what those that are missing need."""
    # Other commands start sooner without.
    from piecework.configuration.layers import configure  # noqa: PLC0415
    from piecework.worker_agent.config.configuration import SECTION  # noqa: PLC0415

    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**(Settings.from_env(configure(SECTION).environ) | {"runtimes": None} | given))
        found = find_interpreters(settings.interpreters_path)
    except (SettingsError, InterpreterError) as error:
        raise click.ClickException(str(error)) from error
    context.obj = settings
    if context.invoked_subcommand is not None:
        return
    rows = [{"name": name, "aliases": [], "version": "", "ready": True} for name in RUNTIME_NAMES]
    rows += [_describe(each) for each in found]
    click.echo(json.dumps(rows, indent=2) if as_json else "\n".join(map(_write_row, rows)))


@runtimes.command(context_settings=_HELP, short_help="Get the interpreter of a runtime ready.")
@click.argument("name", metavar="NAME", shell_complete=offer(INTERPRETERS))
@click.option(
    "--source",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The source distribution that Lua is built from, for a node that cannot download it.",
)
@click.pass_obj
def install(settings: Settings, name: str, source: Path | None) -> None:
    """Get the interpreter of a runtime ready: build it if it is Lua, and compile it for this machine.

    It says what it downloads, which is nothing when the interpreter is here. Agents offer the runtime from their
    next start on: restart those that run.
    """
    # These need what only workers have installed.
    from piecework.worker_agent.runtimes.scripting.lua import install_lua  # noqa: PLC0415

    try:
        wanted = _find(name, settings)
        if wanted.name == LUA:
            install_lua(settings.interpreters_path, click.echo, source)
            wanted = _find(name, settings)
        if wanted.wasm is None:
            raise InterpreterError(f"{wanted.name} is not installed: {wanted.advice}")
        click.echo(f"compiling {wanted.wasm.name} for this machine")
        _prepare(wanted, settings.state_path / "compiled")
        click.echo("agents offer it from their next start on: restart those that run")
        click.echo(f"{wanted.name} is ready")
    except (AgentError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _find(name: str, settings: Settings) -> Interpreter:
    found = find_interpreters(settings.interpreters_path)
    for each in found:
        if name in each.names:
            return each
    known = ", ".join(each.name for each in found)
    raise InterpreterError(f"there is no interpreter of {name!r} to install; known are {known}")


def _prepare(interpreter: Interpreter, compiled: Path) -> None:
    from piecework.worker_agent.runtimes.base import Build, LoadError  # noqa: PLC0415
    from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain  # noqa: PLC0415
    from piecework.worker_agent.runtimes.scripting.scripts import ScriptRuntime  # noqa: PLC0415  # loads wasmtime

    try:
        ScriptRuntime(Toolchain(compiled), interpreter).prepare(Build())
    except LoadError as error:
        raise InterpreterError(f"{interpreter.wasm}: {error}") from error


def _describe(interpreter: Interpreter) -> dict[str, Any]:
    row = {
        "name": interpreter.name,
        "aliases": list(interpreter.aliases),
        "version": interpreter.version,
        "ready": interpreter.wasm is not None,
    }
    return row if interpreter.wasm is not None else row | {"advice": interpreter.advice}


def _write_row(row: dict[str, Any]) -> str:
    names = ", ".join([row["name"], *row["aliases"]])
    state = "ready" if row["ready"] else f"missing: {row['advice']}"
    return f"{names:<28}  {row['version'] or '-':<20}  {state}"
