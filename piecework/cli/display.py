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

KEPT_WHOLE = frozenset({"id", "job", "lambda", "worker", "state"})
"""Columns that are never folded, however narrow the terminal is."""

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
        cells = [[_to_text(value) for value in row] for row in rows]
        if not sys.stdout.isatty():
            _print_plain([list(columns), *cells])
            return
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for name, column in zip(columns, zip(*cells, strict=True) if cells else [()] * len(columns), strict=True):
            keeps_whole = name in KEPT_WHOLE
            width = max(map(len, (name, *column))) if keeps_whole else None
            table.add_column(name, no_wrap=keeps_whole, overflow="fold", min_width=width)
        for row in cells:
            table.add_row(*(Text(text, style=STYLES.get(text, "")) for text in row))
        Console(file=sys.stdout, highlight=False).print(table)

    def fields(self, values: Mapping[str, object]) -> None:
        """Print one thing's fields, one a line; those without a value are left out."""
        rows = [[name, text] for name, value in values.items() if (text := _to_text(value))]
        if not sys.stdout.isatty():
            _print_plain(rows)
            return
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, text in rows:
            table.add_row(name, Text(text, style=STYLES.get(text, "")))
        Console(file=sys.stdout, highlight=False).print(table)

    def line(self, text: object) -> None:
        click.echo(str(text))


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


def _to_text(value: object) -> str:
    """Return a cell's text on one line, without characters that would move the cursor or change colours."""
    if value is None or value is msgspec.UNSET:
        return ""
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return "".join(letter if letter.isprintable() else " " for letter in str(value)).strip()


def _print_plain(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns of their own width, without colours: no cell is ever cut for a program."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(map(str.ljust, row, widths)).rstrip())
