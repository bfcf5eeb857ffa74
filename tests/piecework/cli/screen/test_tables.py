"""Tables on terminals of some width, and for programs."""

import io
import re
from contextlib import redirect_stdout

import pytest
from rich.cells import cell_len

from piecework.cli.screen.tables import Brief, print_fields, print_table
from piecework.protocol.ids import Id

JOB, LAMBDA = Id(9_148_150_577_522_278), Id(9_148_150_577_511_111)
COLUMNS = ["id", "lambda", "runtime", "created", "state", "attempts", "took", "reason"]
FAILED = (JOB, LAMBDA, "javascript", "5 min ago", "Fail_Execution", 3, "1.2 s", "trap: " + "word " * 40)
FINISHED = (Id(JOB + 1), LAMBDA, "wasi", "5 min ago", "Finished", 1, "1.2 s", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def show(monkeypatch):
    """Print on a terminal of so many columns (0: into a pipe); returns the lines without colours."""

    def show(width, printing, *args):
        monkeypatch.setenv("COLUMNS", str(width))
        with redirect_stdout(Terminal() if width else io.StringIO()) as screen:
            printing(*args)
        return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()

    return show


@pytest.mark.parametrize("width", [60, 80, 100, 132])
def test_a_table_fits_the_terminal(show, width):
    lines = show(width, print_table, COLUMNS, [FAILED, FINISHED], ["runtime"])
    assert max(map(cell_len, lines)) <= width
    assert " ".join(" ".join(lines).split()).count("word") == 40


def test_a_narrow_terminal_gets_ends_of_ids_and_no_needless_columns(show):
    heading, failed, *reason, finished = show(80, print_table, COLUMNS, [FAILED, FINISHED], ["runtime"])
    assert heading.split() == [each for each in COLUMNS if each != "runtime"]
    assert failed.split() == ["77522278", "77511111", "5", "min", "ago", "Fail_Execution", "3", "1.2", "s"]
    assert finished.startswith("77522279  77511111")
    assert all(line.startswith("    ") and line[4] != " " for line in reason)


def test_the_last_column_wraps_under_itself_where_there_is_room(show):
    lines = show(40, print_table, ["state", "reason"], [("Finished", "some words " * 9)])
    assert all(line.startswith(" " * 10) for line in lines[2:])
    assert max(map(cell_len, lines)) <= 40


def test_a_wide_terminal_gets_everything_whole_but_ids(show):
    rows = [(JOB, ["a", "b", "c"], "x")]
    assert show(80, print_table, ["id", "tags", "more"], rows)[1] == "77522278  a b c  x"
    assert show(0, print_table, ["id", "tags", "more"], rows)[1] == f"{JOB}  a b c  x"


def test_lists_are_counted_where_room_is_scarce(show):
    rows = [(JOB, ["tag"] * 3, ["x" * 60], []), (JOB, ["tag"], ["x"] * 2, None)]
    lines = show(60, print_table, ["id", "tags", "runtimes", "none"], rows)
    assert lines[1:] == ["77522278  3 tags  1 runtime", "77522278  1 tag   2 runtimes"]


def test_ids_that_end_alike_are_shown_longer(show):
    rows = [(Id(1_200_000_077_522_278), "x" * 90), (Id(1_300_000_077_522_278), "")]
    lines = show(80, print_table, ["id", "text"], rows)
    assert [line.split()[0] for line in (lines[1], lines[-1])] == ["200000077522278", "300000077522278"]


@pytest.mark.parametrize("name", ["日本語" * 10, "👩\u200d👩\u200d👧" * 20, "é" * 50, "e\u0301" * 50])
def test_wide_letters_count_as_wide(show, name):
    lines = show(
        40, print_table, ["name", "state", "since"], [(name, "idle", "5 s ago"), ("b", "busy", "1 s ago")]
    )
    places = [
        cell_len(line[: line.index(word)]) for line, word in zip(lines, ["state", "idle", "busy"], strict=True)
    ]
    assert len(set(places)) == 1
    assert max(map(cell_len, lines)) <= 40


def test_a_pipe_gets_one_whole_line_for_each_row(show):
    lines = show(0, print_table, COLUMNS, [FAILED, FINISHED], ["runtime"])
    assert len(lines) == 3
    assert str(JOB) in lines[1]
    assert lines[1].endswith(FAILED[-1].strip())


def test_a_brief_cell_is_shortened_only_on_a_narrow_terminal(show):
    rows = [(Brief("2026-11-29 10:00:00.123+00:00", "10:00:00"), "x" * 30)]
    assert show(80, print_table, ["at", "detail"], rows)[1].startswith("2026-11-29 10:00:00.123+00:00")
    assert show(50, print_table, ["at", "detail"], rows)[1].startswith("10:00:00")


def test_fields_wrap_and_keep_ids_whole(show):
    lines = show(40, print_fields, [("id", JOB), ("reason", "word " * 20), ("SHA-256", "a" * 34)])
    assert lines[0] == f"id       {JOB}"
    assert lines[-2:] == ["SHA-256", "    " + "a" * 34]
    assert max(map(cell_len, lines)) <= 40
