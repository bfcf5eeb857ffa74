"""Rows in columns that fit the terminal: ends of ids, counted lists, and only the last column wraps."""

import re
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import msgspec
from rich.console import Console
from rich.text import Text

from piecework.protocol.ids import Id
from piecework.protocol.states import JobState
from piecework.terminal.texts import escape_text

STYLES = {
    JobState.FINISHED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.RUNNING: "cyan",
    "busy": "cyan",
    "idle": "green",
    "gone": "red",
    "stopped": "yellow",
    "draining": "yellow",
    "running": "green",
    "failed": "red",
    "starting": "yellow",
    "stopping": "yellow",
}
ENDING_DIGITS = 8
"""Of an id that is shortened; more where some of a table end alike."""
GAP = 2
INDENT = 4
"""Of a last cell that has no room beside the others, on lines of its own."""
LAST_CELLS = 20
"""The last column has so much room beside the others, or else lines of its own."""
LEAST_CELLS = 16
"""No cell is cut to less for the last column's sake."""
NARROW_CELLS = 8
"""No cell is cut to less on a very narrow terminal."""
_BLANK = re.compile(r"\s")

Line = Sequence[Text]


@dataclass(frozen=True)
class Brief:
    """A cell that has a shorter form."""

    whole: str
    short: str

    def __str__(self) -> str:
        return self.whole


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], less: Collection[str] = ()) -> None:
    """Print rows under headings. A terminal gets ends of ids; a narrow one counted lists, too, and no ``less``.

    A file or pipe gets everything whole: programs read it.
    """
    given, width = [list(row) for row in rows], _find_width()
    if width < float("inf"):
        given = _shorten_ids(given)
    lines = _style(columns, given)
    if _total(_widths(lines)) > width:
        columns, given = _drop(columns, _shorten(columns, given), less, width)
        lines = _style(columns, given)
    _print(lines, width)


def print_fields(values: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line and all of it; those without a value are left out."""
    texts = ((name, to_text(value)) for name, value in values)
    _print([(Text(name, "bold"), _styled(text)) for name, text in texts if text], _find_width())


def to_text(value: object) -> str:
    """Return a value on one line. What a terminal would obey is written out."""
    if value is None or value is msgspec.UNSET:
        return ""
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return escape_text(_BLANK.sub(" ", str(value)).strip())


def _find_width() -> float:
    """Return how many cells a line has: those of the terminal, unless COLUMNS says otherwise."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else float("inf")


def _shorten_ids(rows: list[list[object]]) -> list[list[object]]:
    digits = _count_digits({str(cell) for row in rows for cell in row if isinstance(cell, Id)})
    return [[str(cell)[-digits:] if isinstance(cell, Id) else cell for cell in row] for row in rows]


def _shorten(columns: Sequence[str], rows: list[list[object]]) -> list[list[object]]:
    return [[_shorten_cell(cell, name) for cell, name in zip(row, columns, strict=True)] for row in rows]


def _shorten_cell(cell: object, column: str) -> object:
    if isinstance(cell, Brief):
        return cell.short
    if isinstance(cell, list | tuple) and cell:
        return f"1 {column.removesuffix('s')}" if len(cell) == 1 else f"{len(cell)} {column}"
    return cell


def _count_digits(ids: set[str]) -> int:
    """Return how many digits at their ends tell ids from each other."""
    digits = ENDING_DIGITS
    while len({each[-digits:] for each in ids}) < len(ids):
        digits += 1
    return digits


def _drop(
    columns: Sequence[str], rows: list[list[object]], less: Collection[str], width: float
) -> tuple[Sequence[str], list[list[object]]]:
    """Leave out columns of ``less``, in that order, until the rest fits."""
    for name in less:
        widths = _widths(_style(columns, rows))
        if _total(widths[:-1]) <= _room(widths, width):
            break
        place = columns.index(name)
        columns = [*columns[:place], *columns[place + 1 :]]
        rows = [[*row[:place], *row[place + 1 :]] for row in rows]
    return columns, rows


def _style(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[Line]:
    return [[Text(name, "bold") for name in columns], *([_styled(to_text(cell)) for cell in row] for row in rows)]


def _styled(text: str) -> Text:
    return Text(text, STYLES.get(text, ""))


def _widths(lines: Iterable[Line]) -> list[int]:
    return [max(cell.cell_len for cell in column) for column in zip(*lines, strict=True)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _fit(widths: Sequence[int], width: float) -> list[int]:
    """Return the widths of all columns but the last, the widest cut, so that it has room beside them.

    When that does not suffice they are cut only as far as they have no room themselves.
    """
    fixed, room = widths[:-1], _room(widths, width)
    beside = _cut(fixed, room, LEAST_CELLS)
    return beside if _total(beside) <= room else _cut(fixed, width, NARROW_CELLS)


def _room(widths: Sequence[int], width: float) -> float:
    """Return what there is for all columns but the last."""
    return width - GAP - min(widths[-1], LAST_CELLS)


def _cut(widths: Sequence[int], goal: float, least: int) -> list[int]:
    cut = list(widths)
    while _total(cut) > goal and max(cut, default=0) > least:
        cut[cut.index(max(cut))] -= 1
    return cut


def _print(lines: Sequence[Line], width: float) -> None:
    if not lines:
        return
    widths = _widths(lines)
    fixed = _fit(widths, width)
    used = _total(fixed) + GAP if fixed else 0
    console = Console(file=sys.stdout, highlight=False, width=used + 1)  # lines are made here, at any width
    for *cells, last in lines:
        head = Text(" " * GAP).join(_pad(cell, size) for cell, size in zip(cells, fixed, strict=True))
        for text in _place(console, head, last, used, width):
            text.rstrip()
            console.print(text, soft_wrap=True)


def _place(console: Console, head: Text, last: Text, used: int, width: float) -> list[Text]:
    """Return the lines of a row: its last cell wraps beside the others, or below them if there is no room."""
    room = width - used
    if not last or last.cell_len <= room:
        return [head + Text(" " * (used - head.cell_len)) + last]
    longest = max(Text(word).cell_len for word in last.plain.split())
    beside = room >= LAST_CELLS and (longest <= room or longest > width - INDENT)
    start = used if beside else INDENT
    wrapped = [Text(" " * start) + each for each in last.wrap(console, max(int(width) - start, 1))]
    if not beside:
        return [head, *wrapped]
    first = wrapped[0][start:]
    return [head + Text(" " * (used - head.cell_len)) + first, *wrapped[1:]]


def _pad(cell: Text, width: int) -> Text:
    padded = cell.copy()
    padded.truncate(width, overflow="ellipsis", pad=False)
    padded.pad_right(width - padded.cell_len)
    return padded
