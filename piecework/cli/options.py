"""Options that many commands share, and the kinds of value they take."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import rich_click as click
from click.shell_completion import CompletionItem

from piecework.cli.completing import (
    Question,
    list_jobs,
    list_lambdas,
    list_namespaces,
    list_runtimes,
    list_workers,
    offer,
)
from piecework.durations import DURATION
from piecework.protocol.ids import Id
from piecework.protocol.keys import find_key_fault
from piecework.protocol.names import NAME_RULE, ModuleName, is_name
from piecework.protocol.states import JobState, parse_state
from piecework.protocol.text import find_variable_fault

F = TypeVar("F", bound=Callable[..., Any])

MIB = 1024 * 1024


Kind = Literal["job", "lambda", "worker", "namespace"]
QUESTIONS: dict[Kind, Question] = {
    "job": list_jobs,
    "lambda": list_lambdas,
    "worker": list_workers,
    "namespace": list_namespaces,
}
ENDING_DIGITS = range(6, 15)
"""How many digits the end of an id may have; a whole one has more."""


@dataclass(frozen=True)
class Ending:
    """The end of an id, as lists show it. ``remote_command`` finds out whose it is before a command sees it."""

    kind: Kind
    digits: str


class IdType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """An id: a decimal number, or the end of one where its ``kind`` is known."""

    name = "id"

    def __init__(self, kind: Kind | None = None) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Id | Ending:
        try:
            return read_id(value, self.kind)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return offer(QUESTIONS[self.kind])(ctx, param, incomplete) if self.kind else []


class FileOrId(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A file, ``-`` for standard input, or the id of a blob. A file of that name wins over an id."""

    name = "file|-|id"

    def __init__(self, kind: Kind | None = None) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | Id | Ending:
        if isinstance(value, Path | Id | Ending):
            return value
        path = Path(value)
        if value == "-" or (path.exists() and not path.is_dir()):
            return path
        try:
            return read_id(value, self.kind)
        except ValueError:
            self.fail(f"there is no file {value!r}, and it is not an id.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        files = [CompletionItem(incomplete, type="file")]
        return [*(offer(QUESTIONS[self.kind])(ctx, param, incomplete) if self.kind else ()), *files]


class StateType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A job's state, as it is printed or under any other name that requests may use, in any case."""

    name = "state"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> JobState:
        try:
            return parse_state(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        return [CompletionItem(state) for state in JobState if state.lower().startswith(incomplete.lower())]


class KeyValueType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """``KEY=VALUE``."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not KEY=VALUE.", param, ctx)
        if fault := find_variable_fault({key: text}):
            self.fail(f"{fault}.", param, ctx)
        return key, text


class ModuleType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A module of the registry: ``org/module/tag``, with or without ``@sha256:`` and its digest."""

    name = "org/module/tag"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ModuleName:
        try:
            return ModuleName.parse(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class NameType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """The name of a function or of a revision."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_name(value):
            self.fail(f"{value!r} is no name: {NAME_RULE}.", param, ctx)
        return str(value)


class KeyType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """The key of a value."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if fault := find_key_fault(value):
            self.fail(f"{fault}.", param, ctx)
        return str(value)


def read_id(value: Any, kind: Kind | None) -> Id | Ending:
    """Read an id, or the end of one of a known kind. Raises ValueError."""
    if isinstance(value, Ending):
        return value
    number = Id.parse(value)
    if kind and isinstance(value, str) and len(value.strip()) in ENDING_DIGITS:
        return Ending(kind, value.strip())
    return number


ID = IdType()
JOB = IdType("job")
LAMBDA = IdType("lambda")
WORKER = IdType("worker")
NAMESPACE = IdType("namespace")
KEY = KeyType()
MODULE = ModuleType()
NAME = NameType()
STATE = StateType()
FILE_OR_ID = FileOrId()
FILE_OR_LAMBDA = FileOrId("lambda")
FILE_OR_STDIN = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
STDIN = Path("-")


def url_option(**extra: Any) -> Callable[[F], F]:
    return click.option("--url", metavar="URL", help="The server's URL (PIECEWORK_URL).", **extra)


def token_option(**extra: Any) -> Callable[[F], F]:
    return click.option("--token", metavar="TOKEN", help="The token to show it (PIECEWORK_TOKEN).", **extra)


def ca_option() -> Callable[[F], F]:
    return click.option(
        "--ca",
        metavar="FILE",
        type=click.Path(exists=True, path_type=Path),
        help="Trust the certificates in this file or directory, instead of the system's (PIECEWORK_CA).",
    )


def runtime_options(command: F) -> F:
    """Add the options that describe what runs: its runtime, and those of ``run_options``."""
    option = click.option(
        "--runtime",
        metavar="NAME",
        help="What runs it; found out unless given.",
        shell_complete=offer(list_runtimes),
    )
    return option(run_options(command))


def run_options(command: F) -> F:
    """Add the options of everything that runs: arguments, environment, the usual limits."""
    for option in reversed(
        [
            click.option("--arg", "args", multiple=True, help="Add an argument to its command line."),
            click.option("--env", type=KeyValueType(), multiple=True, help="Set a variable for it."),
            click.option(
                "--timeout",
                "timeout_s",
                type=DURATION,
                metavar="DURATION",
                help="Stop it after so long: 90 (seconds), 5m, 1h30m.",
            ),
            click.option(
                "--memory",
                "memory_mb",
                type=click.IntRange(min=1),
                metavar="MB",
                help="Give it so much memory at most (1 MB is 1,048,576 bytes).",
            ),
        ]
    ):
        command = option(command)
    return command


def lambda_options(command: F) -> F:
    """Add the further options of a lambda: tags, the other limits, grants."""
    for option in reversed(
        [
            click.option(
                "--tag", "tags", multiple=True, help="A tag for each job: name, +name (needed), -name (refused)."
            ),
            click.option("--fuel", type=click.IntRange(min=1), help="Give it so much fuel at most."),
            click.option("--max-output", type=click.IntRange(min=1), metavar="BYTES", help="Largest output."),
            click.option(
                "--max-log", type=click.IntRange(min=1), metavar="BYTES", help="How much of its log is kept."
            ),
            click.option(
                "--grant-http", multiple=True, metavar="HOST", help="Let it call this host, HOST or HOST:PORT."
            ),
            click.option("--grant-redis", is_flag=True, help="Let it use the node's Redis."),
            click.option(
                "--grant-files", type=click.Choice(["read", "write"]), help="Let it use its private directory."
            ),
            click.option(
                "--grant-dir",
                multiple=True,
                metavar="PATH",
                help="Let it use a directory that nodes share, PATH or PATH:rw.",
            ),
            click.option("--grant-env", multiple=True, metavar="NAME", help="Let it read a variable of the node."),
        ]
    ):
        command = option(command)
    return command
