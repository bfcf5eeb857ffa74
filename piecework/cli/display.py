"""Showing results: tables for people, JSON documents for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from piecework.protocol import bodies
from piecework.protocol.states import JobState

PLAIN_WIDTH = 100_000
"""Columns of the page when nobody sees it: no cell is ever cut for a program."""

STYLES = {
    JobState.FINISHED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.RUNNING: "cyan",
    "busy": "cyan",
    "idle": "green",
    "gone": "red",
    "draining": "yellow",
}

OLD_FIELDS = frozenset({"code", "status", "job_status", "job_input_id", "job_output_id", "functio", "lambda_id"})
"""What replies carry for old clients only; ``runtime`` of a job is one too, see ``to_document``."""


class Display:
    """Where a command shows what it found."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, value: Any) -> None:
        """Print a value as one JSON document, easy to read on a terminal."""
        text = msgspec.json.format(msgspec.json.encode(value), indent=2 if sys.stdout.isatty() else 0)
        click.echo(text)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print rows under headings. Cells are data: nothing in them is read as markup or control."""
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for name in columns:
            keeps_whole = name in {"id", "job", "lambda", "worker", "state"}
            table.add_column(name, no_wrap=keeps_whole, overflow="fold", min_width=20 if name == "id" else None)
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        stdout_console().print(table)

    def fields(self, values: Mapping[str, object]) -> None:
        """Print one thing's fields, one a line; those without a value are left out."""
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, value in values.items():
            cell = _cell(value)
            if cell.plain:
                table.add_row(name, cell)
        stdout_console().print(table)

    def line(self, text: object) -> None:
        click.echo(str(text))


def stdout_console() -> Console:
    """Return a console on stdout; wide and plain when that is not a terminal."""
    if sys.stdout.isatty():
        return Console(file=sys.stdout, highlight=False)
    return Console(file=sys.stdout, highlight=False, width=PLAIN_WIDTH, color_system=None, legacy_windows=False)


def stderr_console() -> Console:
    return Console(file=sys.stderr, highlight=False)


def write_output(pieces: Iterable[bytes]) -> None:
    """Write bytes to stdout as they are."""
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def to_document(message: msgspec.Struct) -> dict[str, Any]:
    """Return a message as the fields of its JSON form, without those that only old clients read."""
    fields: dict[str, Any] = msgspec.json.decode(bodies.encode(message))
    old = OLD_FIELDS | {"runtime"} if "job_status" in fields else OLD_FIELDS
    return {name: value for name, value in fields.items() if name not in old}


def _cell(value: object) -> Text:
    if value is None or value is msgspec.UNSET:
        return Text("")
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    text = "".join(letter if letter.isprintable() else " " for letter in str(value)).strip()
    return Text(text, style=STYLES.get(text, ""))
