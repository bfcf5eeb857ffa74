"""How `piecework top` looks: lines of text for a terminal of any size."""

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from piecework.cli.screen.figures import tell_count
from piecework.cli.screen.job_rows import describe_job
from piecework.cli.screen.tables import STYLES, to_text
from piecework.cli.top.board import HELP, Board
from piecework.cli.top.rows import TABS, Row
from piecework.cli.top.snapshot import Snapshot
from piecework.protocol.messages import StatsPoint, StatsTimes, given
from piecework.terminal.texts import escape_text
from piecework.text.durations import format_duration

LEAST_CELLS = 6
"""No column is cut to less, but the last."""
ONCE_MAX = 20
"""Rows of each table where all are shown at once."""
GAP = "  "
KEYS = "1-4 tabs  Enter open  / filter  s sort  a which  c cancel  t retry  p pause  ? keys  q leave"


def draw(board: Board, snapshot: Snapshot | None, trouble: str, width: int, height: int) -> list[Text]:
    """Return the lines of a screen: what is known, and what troubles the connection, if anything does."""
    head = _draw_head(snapshot, trouble)
    foot = [_draw_foot(board)]
    room = max(1, height - len(head) - len(foot))
    if board.helping:
        body = [Text.assemble((f"  {keys:<30}", "bold"), words) for keys, words in HELP]
    elif board.wish.job is not None and snapshot is not None and snapshot.opened is not None:
        body = _draw_job(snapshot, room)
    else:
        board.page = max(1, room - 2)
        body = _draw_table(board, snapshot, width, room)
    lines = [*head, *body[:room], *[Text() for _ in range(room - len(body))], *foot]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return lines[-height:] if height < len(lines) else lines


def _draw_head(snapshot: Snapshot | None, trouble: str) -> list[Text]:
    if snapshot is None:
        return [Text(trouble or "asking the server …", "bold red" if trouble else ""), Text()]
    status, hour = snapshot.status, snapshot.status.hour
    at = datetime.fromtimestamp(status.at).astimezone().strftime("%H:%M:%S")
    style = "green" if status.is_well else "bold red"
    oldest = given(status.oldest_at)
    age = f", the oldest {format_duration(max(0.0, status.at - oldest))}" if oldest is not None else ""
    workers = ", ".join(f"{count} {state}" for state, count in sorted(status.workers.items())) or "none"
    times = ", ".join(filter(None, [_describe("waited", hour.wait), _describe("ran", hour.run)]))
    last = snapshot.stats.points[-2] if len(snapshot.stats.points) > 1 else snapshot.stats.points[-1]
    return [
        Text.assemble(f"piecework {status.version}  {at}  ", (to_text(status.summary), style)),
        Text(
            f"{status.enqueued:,} ready{age}; {status.running:,} running; {status.waiting:,} waiting"
            f"{tell_count(status)}"
        ),
        Text(f"workers: {workers}"),
        Text(f"last minute: {_describe_point(last)}; last hour: {times or 'nothing ended'}"),
        Text(f"no answer since then: {to_text(trouble)}" if trouble else "", "bold red"),
    ]


def _describe_point(point: StatsPoint) -> str:
    return f"{point.submitted:,} submitted, {point.finished:,} finished, {point.failed:,} failed"


def _describe(words: str, times: StatsTimes) -> str:
    p50, p99 = given(times.p50_s), given(times.p99_s)
    return "" if p50 is None or p99 is None else f"{words} {format_duration(p50)}, p99 {format_duration(p99)}"


def _draw_foot(board: Board) -> Text:
    if board.asking is not None:
        what = "cancel" if board.asking.what == "cancel" else "run again"
        return Text(f"{what} job {board.asking.job}? y: yes, any other key: no", "bold yellow")
    if board.typing:
        return Text(f"/{board.words}_", "bold")
    if board.note:
        return Text(to_text(board.note), "yellow")
    still = "standing still (p)  " if board.still else ""
    return Text(still + KEYS, "dim")


def _draw_table(board: Board, snapshot: Snapshot | None, width: int, room: int) -> list[Text]:
    rows = board.rows(snapshot)
    place = board.find(rows)
    tabs = Text()
    for number, tab in enumerate(TABS):
        tabs.append(f" {number + 1} {tab.name} ", "reverse" if number == board.tab else "")
    tabs.append(f"  {_describe_choice(board, len(rows))}", "dim")
    shown = max(1, room - 2)
    begin = min(max(0, place - shown // 2), max(0, len(rows) - shown))
    visible = rows[begin : begin + shown]
    column, turned = board.sorting()
    falls = (column in TABS[board.tab].falling) is not turned
    heads = [
        f"{name}{('↓' if falls else '↑') if number == column else ''}"
        for number, name in enumerate(TABS[board.tab].columns)
    ]
    lines = [tabs, *_lay_out([heads, *[row.cells for row in visible]], width)]
    lines[1].stylize("bold")
    for number, (line, row) in enumerate(zip(lines[2:], visible, strict=True)):
        _colour(line, row)
        if begin + number == place:
            line.pad_right(max(0, width - line.cell_len))
            line.stylize("reverse")
    return lines


def _describe_choice(board: Board, count: int) -> str:
    wish = board.wish
    chosen = [
        f"state {wish.state}" if wish.state else "",
        f"lambda {wish.lambda_}" if wish.lambda_ else "",
        f"worker {wish.worker[-8:]}" if wish.worker else "",
        f"with {board.words!r}" if board.words else "",
    ]
    return ", ".join([f"{count} shown", *filter(None, chosen)])


def _colour(line: Text, row: Row) -> None:
    for cell in row.cells:
        if cell in STYLES:
            line.highlight_words([cell], STYLES[cell])


def _lay_out(rows: Sequence[Sequence[str]], width: int) -> list[Text]:
    """Return rows in columns; the widest are cut until the last has some room."""
    widths = [max(Text(cell).cell_len for cell in column) for column in zip(*rows, strict=True)]
    fixed, last = widths[:-1], min(widths[-1], max(12, width // 4))
    while sum(fixed) + len(GAP) * len(fixed) + last > width and max(fixed) > LEAST_CELLS:
        fixed[fixed.index(max(fixed))] -= 1
    lines = []
    for *cells, end in rows:
        line = Text()
        for cell, size in zip(cells, fixed, strict=True):
            text = Text(cell)
            text.truncate(size, overflow="ellipsis", pad=True)
            line.append(text).append(GAP)
        lines.append(line.append(end))
    return lines


def _draw_job(snapshot: Snapshot, room: int) -> list[Text]:
    assert snapshot.opened is not None
    fields = describe_job(snapshot.opened, snapshot.status.at)
    texts = [(name, to_text(value)) for name, value in fields.items()]
    lines = [Text.assemble((f"{name:<16}", "bold"), text) for name, text in texts if text]
    log = [Text(f"  {escape_text(line.expandtabs())}") for line in snapshot.log.splitlines()]
    left = max(3, room - len(lines) - 1)
    return [*lines[: room - min(len(log), 3) - 1], Text("log", "bold"), *log[-left:]]


def draw_once(snapshot: Snapshot, width: int) -> list[Text]:
    """Return all tables below each other, for where no keys are pressed."""
    lines = _draw_head(snapshot, "")
    board = Board()
    for number, tab in enumerate(TABS):
        board.tab = number
        rows = board.rows(snapshot)[:ONCE_MAX]
        cells = _lay_out([tab.columns, *[row.cells for row in rows]], width) if rows else [Text("  none", "dim")]
        lines += [Text(), Text(tab.name, "bold underline"), *cells]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.rstrip()
    return lines
