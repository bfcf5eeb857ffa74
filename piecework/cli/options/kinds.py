"""Options that many commands share, and the kinds of value they take."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click
from click.shell_completion import CompletionItem

from piecework.cli.options.completing import (
    Question,
    list_groups,
    list_jobs,
    list_lambdas,
    list_limits,
    list_namespaces,
    list_runtimes,
    list_schedules,
    list_tenants,
    list_webhooks,
    list_workers,
    offer,
)
from piecework.cli.options.file_limits import FILE_OPTIONS
from piecework.cli.options.terms import RATE
from piecework.protocol.ids import Id, IdKind
from piecework.protocol.keys import find_key_fault
from piecework.protocol.names import NAME_RULE, LambdaName, ModuleName, is_lambda_name, is_name
from piecework.protocol.states import JobState, parse_state
from piecework.protocol.text import find_fault, find_variable_fault
from piecework.text.durations import DURATION

F = TypeVar("F", bound=Callable[..., Any])

MIB = 1024 * 1024


QUESTIONS: dict[IdKind, Question] = {
    "job": list_jobs,
    "group": list_groups,
    "lambda": list_lambdas,
    "worker": list_workers,
    "namespace": list_namespaces,
    "schedule": list_schedules,
    "webhook": list_webhooks,
}
ENDING_DIGITS = range(6, 15)
"""How many digits the end of an id may have; a whole one has more."""


@dataclass(frozen=True)
class Ending:
    """The end of an id, as lists show it. ``remote_command`` finds out whose it is before a command sees it."""

    kind: IdKind
    digits: str
    name: str = ""
    """Of the thing that has the id, as in ``name@123456``."""


class IdType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """An id: a decimal number, or the end of one where its ``kind`` is known."""

    name = "id"

    def __init__(self, kind: IdKind | None = None) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Id | Ending:
        try:
            return read_id(value, self.kind)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return offer(QUESTIONS[self.kind])(ctx, param, incomplete) if self.kind in QUESTIONS else []


class LambdaType(IdType):
    """A lambda: its id or the end of one, its name, or ``name@id``."""

    name = "lambda"

    def __init__(self) -> None:
        super().__init__("lambda")

    def convert(  # type: ignore[override]  # it may be a name
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Id | str | Ending:
        try:
            return read_lambda(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class NamedType(IdType):
    """A schedule, group or webhook: its name, its id, or the end of that."""

    def __init__(self, kind: IdKind) -> None:
        super().__init__(kind)
        self.name = kind

    def convert(  # type: ignore[override]  # it may be a name
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Id | str | Ending:
        if isinstance(value, str) and is_name(value) and not value.isdecimal():
            return value
        return super().convert(value, param, ctx)


class WorkerRefType(IdType):
    """A worker: its id or the end of one, or its name."""

    name = "worker"

    def __init__(self) -> None:
        super().__init__("worker")

    def convert(  # type: ignore[override]  # it may be a name
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Id | str | Ending:
        if isinstance(value, str) and value and not value.isdecimal():
            return value
        return super().convert(value, param, ctx)


class FileOrId(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A file, ``-`` for standard input, or the id of a blob; or a lambda. A file of that name wins over these."""

    name = "file|-|id"

    def __init__(self, kind: IdKind | None = None) -> None:
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | Id | str | Ending:
        if isinstance(value, Path | Id | Ending):
            return value
        path = Path(value)
        if value == "-" or (path.exists() and not path.is_dir()):
            return path
        try:
            if self.kind == "lambda" and is_lambda_name(value.partition("@")[0]):
                return read_lambda(value)
            return read_id(value, self.kind)
        except ValueError:
            self.fail(f"there is no file {value!r}, and it is not an id.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        files = [CompletionItem(incomplete, type="file")]
        return [*(offer(QUESTIONS[self.kind])(ctx, param, incomplete) if self.kind in QUESTIONS else ()), *files]


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


class NewNameType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """The name of a new lambda, schedule or webhook."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_lambda_name(value):
            self.fail(f"{value!r} is no name: {NAME_RULE}, and is no number.", param, ctx)
        return str(value)


class TenantType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """The name of a tenant."""

    name = "tenant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if fault := find_fault({"the name": value}):
            self.fail(f"{fault}.", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return offer(list_tenants)(ctx, param, incomplete)


class KeyType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """The key of a value."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if fault := find_key_fault(value):
            self.fail(f"{fault}.", param, ctx)
        return str(value)


def read_id(value: Any, kind: IdKind | None) -> Id | Ending:
    """Read an id, or the end of one of a known kind. Raises ValueError."""
    if isinstance(value, Ending):
        return value
    number = Id.parse(value)
    if kind and isinstance(value, str) and len(value.strip()) in ENDING_DIGITS:
        return Ending(kind, value.strip())
    return number


def read_lambda(value: Any) -> Id | str | Ending:
    """Read how a lambda is named, by its id, the end of one, or otherwise. Raises ValueError."""
    if isinstance(value, Ending):
        return value
    ref = LambdaName.parse(value)
    if isinstance(ref, Id):
        return read_id(value, "lambda")
    digits = value.rpartition("@")[2]
    return Ending("lambda", digits, ref.name) if ref.id and len(digits) in ENDING_DIGITS else str(ref)


ID = IdType()
DATA = IdType("data")
JOB = IdType("job")
GROUP = NamedType("group")
LAMBDA = LambdaType()
NEW_NAME = NewNameType()
WORKER = IdType("worker")
WORKER_OR_NAME = WorkerRefType()
NAMESPACE = IdType("namespace")
SCHEDULE = NamedType("schedule")
WEBHOOK = NamedType("webhook")
DELIVERY = IdType("delivery")
KEY = KeyType()
TENANT = TenantType()
MODULE = ModuleType()
NAME = NameType()
STATE = StateType()
FILE_OR_ID = FileOrId("data")
FILE_OR_LAMBDA = FileOrId("lambda")
FILE_OR_STDIN = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
STDIN = Path("-")


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


OK_CODE_OPTION = click.option(
    "--ok-code",
    "ok_codes",
    type=click.IntRange(0, 2**32 - 1),
    multiple=True,
    metavar="N",
    help="Take this exit code for success, too; can be repeated.",
)
LIMIT_OPTIONS = (
    click.option(
        "--concurrency-key",
        metavar="KEY",
        help="Of the jobs with this key, a limited number run at once.",
        shell_complete=offer(list_limits),
    ),
    click.option("--concurrency-limit", type=click.IntRange(min=1), metavar="N", help="How many of them may."),
    click.option(
        "--rate-key",
        metavar="KEY",
        help="Of the jobs with this key, a limited number start in a time.",
        shell_complete=offer(list_limits),
    ),
    click.option("--rate-limit", "rate", type=RATE, metavar="N/DURATION", help="How many of them may, as 100/1m."),
)
"""The keys with limits of jobs; ``read_rate`` reads them."""


def limit_options(command: F) -> F:
    """Add the options about keys with limits."""
    for option in reversed(LIMIT_OPTIONS):
        command = option(command)
    return command


def read_rate(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as a request names them: a rate is a number and a period."""
    rate = options.pop("rate", None)
    return options if rate is None else {**options, "rate_limit": rate[0], "rate_period_s": rate[1]}


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
            *FILE_OPTIONS,
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
