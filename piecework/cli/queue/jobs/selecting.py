"""Options that say which jobs a command is about."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, cast

import rich_click as click
from click.shell_completion import CompletionItem

from piecework.cli.options.kinds import GROUP, LAMBDA, SCHEDULE, WORKER
from piecework.client import Selection
from piecework.protocol.codes import ErrorKind
from piecework.protocol.states import JobState
from piecework.text.selection import read_kinds, read_states, read_time

F = TypeVar("F", bound=Callable[..., Any])

NAMES = (
    "state", "lambda_", "group", "tag", "tenant", "worker", "schedule", "submitter", "key", "text", "kind",
    "since", "before",
)  # fmt: skip
"""The options, as they are passed to commands."""


class WordsType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """Words with commas between them, of those that there are."""

    def __init__(self, name: str, read: Callable[[str], Any], words: list[str]) -> None:
        self.name = name
        self._read = read
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return ",".join(self._read(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        before, comma, last = incomplete.rpartition(",")
        chosen = before.lower().split(",")
        return [
            CompletionItem(before + comma + each)
            for each in self._words
            if each.lower().startswith(last.lower()) and each.lower() not in chosen
        ]


class TimeType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A date and time in ISO 8601, local without a zone; or a duration: so long ago, by the server's clock."""

    name = "time|duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return datetime.fromisoformat(value.strip()).astimezone().isoformat()
        except (ValueError, OverflowError, OSError):
            pass
        try:
            read_time(value, 0)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return str(value)


STATES = WordsType("state,...", read_states, list(JobState))
KINDS = WordsType("kind,...", read_kinds, list(ErrorKind))
TIME = TimeType()

SELECTION_OPTIONS = (
    click.option(
        "--state", type=STATES, metavar="STATE,...", help="Only jobs in these states, such as failed,cancelled."
    ),
    click.option("--lambda", "lambda_", type=LAMBDA, help="Only jobs of this lambda."),
    click.option("--group", type=GROUP, help="Only jobs of this group."),
    click.option("--tag", help="Only jobs with this tag."),
    click.option("--tenant", metavar="NAME", help="Only jobs of this tenant."),
    click.option("--worker", type=WORKER, help="Only jobs that this worker runs, or ran last."),
    click.option("--schedule", type=SCHEDULE, help="Only jobs that this schedule submitted, by its name or id."),
    click.option("--submitter", metavar="NAME", help="Only jobs that were submitted with the token of this name."),
    click.option("--key", help="Only the job with this idempotency key."),
    click.option("--text", help="Only jobs in whose own arguments, key or error this text stands."),
    click.option(
        "--kind", type=KINDS, metavar="KIND,...", help="Only jobs that failed so last, such as trap,timeout."
    ),
    click.option(
        "--since",
        type=TIME,
        metavar="TIME|DURATION",
        help="Only jobs that ended since then, or so long ago at most: 90 (seconds), 5m, 1h30m. Of jobs that have"
        " not ended, their submission counts.",
    ),
    click.option(
        "--before",
        type=TIME,
        metavar="TIME|DURATION",
        help="Only jobs that ended, or were submitted, before then.",
    ),
)


def selection_options(command: F) -> F:
    """Add the options that say which jobs are meant; ``take_selection`` reads them."""
    for option in reversed(SELECTION_OPTIONS):
        command = option(command)
    return command


def take_selection(options: dict[str, Any]) -> Selection:
    """Take out of a command's options those that say which jobs are meant; those not given are left out."""
    given = {name: options.pop(name) for name in NAMES}
    return cast("Selection", {name: value for name, value in given.items() if value is not None})
