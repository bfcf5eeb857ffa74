"""Showing results: tables for people, JSON documents for programs."""

import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console

from piecework.cli.screen.tables import print_fields, print_table
from piecework.protocol import bodies
from piecework.terminal.texts import escape_pieces, escape_text

_BEYOND_ASCII = re.compile(r"[^ -~\n]")


class Display:
    """Where a command shows what it found."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, value: Any) -> None:
        """Print a value as one JSON document, easy to read on a terminal."""
        text = msgspec.json.encode(value).decode()
        write_json(msgspec.json.format(text, indent=2 if sys.stdout.isatty() else 0))

    def record(self, value: Any) -> None:
        """Print a value as JSON on one line, one of many."""
        write_json(msgspec.json.encode(value).decode())

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], less: Collection[str] = ()) -> None:
        """Print rows under headings. Cells are data: nothing in them is read as markup or control.

        ``less``: columns that a narrow terminal does without, in this order.
        """
        print_table(columns, rows, less)

    def listing(
        self,
        messages: Sequence[msgspec.Struct],
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        less: Collection[str] = (),
    ) -> None:
        """Print messages as one JSON document, or for people as rows under headings."""
        if self.as_json:
            self.document([to_document(each) for each in messages])
        else:
            self.table(columns, rows, less)

    def fields(self, values: Mapping[str, object]) -> None:
        """Print one thing's fields, one a line; those without a value are left out."""
        print_fields(values.items())

    def line(self, text: object) -> None:
        write_text(f"{text}\n")


def stderr_console() -> Console:
    return Console(file=sys.stderr, highlight=False)


def write_text(text: str, *, err: bool = False) -> None:
    """Write a text as it is; on a terminal, nothing in it is obeyed."""
    stream = sys.stderr if err else sys.stdout
    click.echo(escape_text(text) if stream.isatty() else text, nl=False, err=err)


def write_json(text: str) -> None:
    """Write a JSON document on a line of its own; on a terminal, nothing in it is obeyed."""
    click.echo(_BEYOND_ASCII.sub(_escape_in_json, text) if sys.stdout.isatty() else text)


def _escape_in_json(found: re.Match[str]) -> str:
    letter = found[0]
    return letter if escape_text(letter) == letter else json.dumps(letter)[1:-1]


def write_output(pieces: Iterable[bytes]) -> None:
    """Write bytes to stdout as they are; on a terminal nothing is obeyed, and what comes next has its own line."""
    last = b"\n"
    for piece in escape_pieces(pieces) if sys.stdout.isatty() else pieces:
        sys.stdout.buffer.write(piece)
        last = piece or last
    if sys.stdout.isatty() and not last.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def to_document(message: msgspec.Struct) -> dict[str, Any]:
    """Return a message as the fields of its JSON form, without those that every reply has."""
    fields: dict[str, Any] = msgspec.json.decode(bodies.encode(message))
    return {name: value for name, value in fields.items() if name not in {"code", "status"}}
