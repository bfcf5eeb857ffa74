import io
import json
import re
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec import UNSET

import piecework.cli
from piecework.cli.failures import warn
from piecework.cli.queue.jobs.watching import watch_job
from piecework.cli.screen import progress
from piecework.cli.screen.display import Display, to_document, write_output, write_text
from piecework.cli.screen.figures import format_age, format_bytes, format_moment
from piecework.protocol.ids import Id
from piecework.protocol.messages import DataReply
from piecework.text.durations import format_duration

LONG_ID = Id(9_000_000_000_000_000_001)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Give a context in which both output streams are a narrow terminal with colours."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "30")

    @contextmanager
    def terminal():
        screen = Terminal()
        with redirect_stdout(screen), redirect_stderr(screen):
            yield screen

    return terminal


ROWS = [(LONG_ID, "Finished", ["a", "b"], None, UNSET), (Id(1), "odd\nreason [bold]", "x" * 50, 3, "")]


def test_a_table_on_a_terminal_has_colours(terminal):
    with terminal() as screen:
        Display(as_json=False).table(["id", "state"], [(Id(1), "Finished")])
    assert "\x1b[1mid" in screen.getvalue()
    assert "\x1b[32mFinished" in screen.getvalue()


def test_colours_can_be_switched_off(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal() as screen:
        Display(as_json=False).table(["state"], [["Finished"]])
    assert "\x1b[32m" not in screen.getvalue()


def test_a_table_for_a_program_is_plain_columns(capsys):
    Display(as_json=False).table(["id", "state", "tags", "n", "empty"], ROWS)
    assert capsys.readouterr().out == (
        "id                   state              tags                                                n  empty\n"
        "9000000000000000001  Finished           a b\n"
        f"1                    odd reason [bold]  {'x' * 50}  3\n"
    )


def test_a_table_without_rows_has_its_headings(capsys):
    Display(as_json=False).table(["id", "state"], [])
    assert capsys.readouterr().out == "id  state\n"


def test_fields_without_a_value_are_left_out(capsys):
    values = {"id": Id(1), "name": UNSET, "tags": [], "state": "Finished", "nothing": None, "zero": 0}
    Display(as_json=False).fields(values)
    assert capsys.readouterr().out == "id     1\nstate  Finished\nzero   0\n"


def test_fields_on_a_terminal_have_bold_names(terminal):
    with terminal() as screen:
        Display(as_json=False).fields({"state": "Finished"})
    assert screen.getvalue() == "\x1b[1mstate\x1b[0m  \x1b[32mFinished\x1b[0m\n"


def test_documents_are_indented_for_people(terminal):
    with terminal() as screen:
        Display(as_json=True).document({"a": [1]})
    assert screen.getvalue() == '{\n  "a": [\n    1\n  ]\n}\n'


def test_documents_for_programs_are_one_line(capsys):
    Display(as_json=True).document([{"id": "1", "text": "grüße\n"}])
    assert capsys.readouterr().out == '[{"id": "1", "text": "grüße\\n"}]\n'


def test_a_document_on_a_terminal_is_json_without_what_it_would_obey(terminal):
    value = {"name": "a\x9b2J\u202eb\x7f 日本"}
    with terminal() as screen:
        Display(as_json=True).document(value)
    assert not set(screen.getvalue()) & set("\x9b\u202e\x7f")
    assert json.loads(screen.getvalue()) == value
    assert "日本" in screen.getvalue()


HOSTILE = "\x1b]0;title\x07\x9b2J"


def test_text_for_a_terminal_is_escaped_and_for_a_pipe_it_is_raw(terminal, capsys):
    with terminal() as screen:
        write_text(HOSTILE)
        write_text(HOSTILE, err=True)
        Display(as_json=False).line(HOSTILE)
        Display(as_json=False).fields({"name": HOSTILE})
        warn(HOSTILE)
    shown = re.sub(r"\x1b\[[01]m", "", screen.getvalue())  # the colours are ours
    assert shown.count(r"\x1b]0;title\x07\x9b2J") == 5
    assert not set(shown) & set("\x1b\x07\x9b")
    write_text(HOSTILE)
    assert capsys.readouterr().out == HOSTILE


def test_a_document_has_a_messages_own_fields():
    assert to_document(DataReply(id=LONG_ID, checksum="c")) == {"id": str(LONG_ID), "checksum": "c"}


def test_output_is_written_as_it_is(capsysbinary):
    write_output([b"\xff\x00", b"\n"])
    assert capsysbinary.readouterr().out == b"\xff\x00\n"
    write_output([b"no line"])
    assert capsysbinary.readouterr().out == b"no line"


@pytest.mark.parametrize(("output", "shown"), [([b"a", b"", b"b"], b"ab\n"), ([b"a\n", b""], b"a\n"), ([], b"")])
def test_output_on_a_terminal_ends_its_line(monkeypatch, output, shown):
    screen = SimpleNamespace(buffer=io.BytesIO(), isatty=lambda: True)
    monkeypatch.setattr("sys.stdout", screen)
    write_output(output)
    assert screen.buffer.getvalue() == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (1.25, "1.2 s"),
        (9.99, "10 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
        (1e7, "116 d"),
    ],
)
def test_durations_are_told_in_their_largest_fitting_unit(seconds, text):
    assert format_duration(seconds) == text


def test_moments_are_told_as_ages_or_as_time_to_come():
    assert format_age(1000.0, 1180.0) == "3 min ago"
    assert format_age(1180.0, 1000.0) == "in 3 min"
    assert format_age(UNSET, 1000.0) == ""


def test_moments_have_date_time_and_offset():
    assert format_moment(UNSET) == ""
    text = format_moment(1_795_300_000.25)
    assert text[:10] in {"2026-11-21", "2026-11-22", "2026-11-23"}
    assert ".250" in text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (999_999, "1.0 MB"),
        (5e9, "5.0 GB"),
        (1e18, "1000000.0 TB"),
        (None, ""),
        (UNSET, ""),
    ],
)
def test_sizes_are_told_with_decimal_units(size, text):
    assert format_bytes(size) == text


@pytest.fixture
def large_file(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(progress.LARGE_BYTES)
    return path


def test_reading_a_large_file_shows_a_bar_to_people(terminal, large_file):
    with terminal() as screen, progress.reading(large_file) as file:
        assert len(file.read()) == progress.LARGE_BYTES
    assert "large" in screen.getvalue()


def test_reading_shows_nothing_to_programs(capsys, large_file):
    with progress.reading(large_file) as file:
        assert len(file.read()) == progress.LARGE_BYTES
    assert capsys.readouterr() == ("", "")


def test_receiving_and_counting_show_a_bar_to_people(terminal):
    with terminal() as screen:
        with progress.receiving("blob", progress.LARGE_BYTES) as received:
            received(progress.LARGE_BYTES // 2)
        with progress.counting("[waiting]", 3) as advance:
            advance()
    assert "blob" in screen.getvalue()
    assert "[waiting]" in screen.getvalue()


def test_a_small_transfer_shows_no_bar(terminal):
    with terminal() as screen, progress.receiving("blob", 10) as received:
        received(10)
    assert screen.getvalue() == ""


def test_a_spinner_gives_way_to_the_log(terminal, client, worker):
    job = client.submit(client.create_lambda(0, "test"), args=["log", "a line\n"])
    with terminal() as screen:
        assert watch_job(client, job).ok
    assert f"job {job} …" in screen.getvalue()
    assert "a line\n" in screen.getvalue()


def test_commands_write_only_through_what_minds_terminals():
    """What is written past ``display`` and ``warn`` would bring a guest's control characters to a terminal."""
    allowed = {"display.py", "failures.py", "completion.py"}
    files = [path for path in Path(piecework.cli.__file__).parent.rglob("*.py") if path.name not in allowed]
    wrote = {
        path.name for path in files if re.search(r"click\.echo\((?!err=True\))|(?<!\.)\bprint\(", path.read_text())
    }
    assert not wrote, "use write_text, write_output, Display or warn"
