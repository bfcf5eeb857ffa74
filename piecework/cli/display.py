"""Showing results: tables for people, JSON documents for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console
from rich.text import Text

from piecework.protocol import bodies
from piecework.protocol.states import JobState

STYLES = {
    JobState.FINISHED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.RUNNING: "cyan",
    "busy": "cyan",
    "idle": "green",
    "gone": "red",
    "draining": "yellow",
    "running": "green",
    "failed": "red",
    "starting": "yellow",
    "stopping": "yellow",
}

OLD_FIELDS = frozenset({"code", "status", "job_status", "job_input_id", "job_output_id", "functio", "lambda_id"})
"""What replies carry for old clients only; ``runtime`` of a job is one too, see ``to_document``."""


class Display:
    """Where a command shows what it found."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, value: Any) -> None:
        """Print a value as one JSON document, easy to read on a terminal."""
        text = msgspec.json.encode(value).decode()
        click.echo(msgspec.json.format(text, indent=2 if sys.stdout.isatty() else 0))

    def record(self, value: Any) -> None:
        """Print a value as JSON on one line, one of many."""
        click.echo(msgspec.json.encode(value).decode())

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print rows under headings. Cells are data: nothing in them is read as markup or control."""
        cells = [[_styled(_to_text(value)) for value in row] for row in rows]
        _print_columns([[Text(name, "bold") for name in columns], *cells])

    def listing(
        self, messages: Sequence[msgspec.Struct], columns: Sequence[str], rows: Iterable[Sequence[object]]
    ) -> None:
        """Print messages as one JSON document, or for people as rows under headings."""
        if self.as_json:
            self.document([to_document(each) for each in messages])
        else:
            self.table(columns, rows)

    def fields(self, values: Mapping[str, object]) -> None:
        """Print one thing's fields, one a line; those without a value are left out."""
        texts = {name: _to_text(value) for name, value in values.items()}
        _print_columns([[Text(name, "bold"), _styled(text)] for name, text in texts.items() if text])

    def line(self, text: object) -> None:
        click.echo(str(text))


def stderr_console() -> Console:
    return Console(file=sys.stderr, highlight=False)


def write_output(pieces: Iterable[bytes]) -> None:
    """Write bytes to stdout as they are; on a terminal, what comes next begins on a line of its own."""
    last = b"\n"
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        last = piece or last
    if sys.stdout.isatty() and not last.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
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


def _styled(text: str) -> Text:
    return Text(text, STYLES.get(text, ""))


def _print_columns(rows: Sequence[Sequence[Text]]) -> None:
    """Print rows in columns as wide as their widest cell.

    Nothing is cut or folded, so that ids can be copied and programs can read every cell; a terminal that is
    too narrow wraps the line by itself.
    """
    console = Console(file=sys.stdout, highlight=False)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = Text("  ").join(_pad(cell, width) for cell, width in zip(row, widths, strict=True))
        line.rstrip()
        console.print(line, soft_wrap=True)


def _pad(cell: Text, width: int) -> Text:
    padded = cell.copy()
    padded.pad_right(width - len(cell))
    return padded
