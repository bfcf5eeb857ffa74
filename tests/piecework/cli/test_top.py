"""`piecework top`: what keys do, how it looks at any size, and its life in a real terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import msgspec
import pytest
from patience import LONG_S, until

from piecework.cli.top.board import Board, JobDeed
from piecework.cli.top.drawing import draw, draw_once
from piecework.cli.top.keys import parse_keys
from piecework.cli.top.rows import JOB_STATES, JOBS
from piecework.cli.top.snapshot import Wish, take_snapshot
from piecework.protocol.states import JobState

pytestmark = pytest.mark.usefixtures("new_server")


@pytest.fixture
def lambda_id(client):
    return client.create_lambda(b"", runtime="top of nothing", name="topped")


@pytest.fixture
def jobs(client, lambda_id):
    made = client.submit_many(lambda_id, ["1", "2", "3"])
    yield made
    for each in made:
        client.cancel(each)


@pytest.fixture
def snapshot(client, jobs):
    """The server as it is, of whose lambdas one is known: others, of other tests, may be busier."""
    mine = partial(client.stats, "hour", lambda_="topped", lambdas=1)
    until(lambda: mine().lambdas)  # changes are counted a moment after they are stored
    return replace(take_snapshot(client, Wish(lambda_="topped")), stats=mine())


@pytest.fixture(scope="module")
def taken():
    return []


@pytest.fixture
def drawn(request, taken):
    """A snapshot that all tests share which only draw it."""
    if not taken:
        taken.append(request.getfixturevalue("snapshot"))
    return taken[0]


def plain(board, snapshot, width=80, height=24, trouble=""):
    return [line.plain for line in draw(board, snapshot, trouble, width, height)]


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"j", ["j"]),
        (b"\x1b[A\x1b[B", ["up", "down"]),
        (b"\x1b", ["escape"]),
        (b"\r\t\x7f", ["enter", "tab", "backspace"]),
        ("\u00e9q".encode(), ["\u00e9", "q"]),
        (b"\x1b[5~G", ["pageup", "G"]),
        (b"\x1b[1;5Cq", ["q"]),
        (b"\xff", []),
        (b"", []),
    ],
)
def test_keys_are_read_from_what_a_terminal_sends(data, keys):
    assert parse_keys(data) == keys


def test_tables_show_what_there_is(drawn):
    board = Board()
    assert any("top of nothing" in line for line in plain(board, drawn, 160))
    board.press("2", drawn)
    assert any(line.startswith("topped") for line in plain(board, drawn, 160))
    board.press("4", drawn)
    shown = "\n".join(plain(board, drawn, 160))
    assert "3 shown" in shown
    assert "no worker" in shown


@pytest.mark.parametrize(("width", "height"), [(80, 24), (20, 5), (1, 1), (300, 100), (80, 7)])
@pytest.mark.parametrize("keys", ["1", "2", "3", "4", "?", "4c", "/"])
def test_it_fits_any_terminal(drawn, width, height, keys):
    board = Board()
    for key in keys:
        board.press(key, drawn)
    lines = draw(board, drawn, "away", width, height)
    assert len(lines) <= height
    assert all(line.cell_len <= width for line in lines)
    assert plain(board, None, width, height)


def test_a_row_stays_selected_while_the_table_is_sorted_anew(snapshot, jobs):
    board = Board()
    for key in ("4", "j", "j"):
        board.press(key, snapshot)
    chosen = board.selected[JOBS]
    board.press("S", snapshot)
    rows = board.rows(snapshot)
    assert rows[board.find(rows)].key == chosen
    board.press("G", snapshot)
    assert board.find(rows) == len(rows) - 1
    board.press("g", snapshot)
    assert board.find(rows) == 0


def test_words_filter_and_escape_ends_that(drawn):
    board = Board(tab=JOBS)
    count = len(board.rows(drawn))
    for key in "/zzz":
        board.press(key, drawn)
    assert board.rows(drawn) == []
    assert plain(board, drawn)[-1] == "/zzz_"
    for key in ("backspace", "backspace", "backspace", "t", "o", "p", "enter"):
        board.press(key, drawn)
    assert (board.typing, len(board.rows(drawn))) == (False, count)
    board.press("escape", drawn)
    assert board.words == ""


def test_a_running_job_tells_when_it_may_end(snapshot):
    now, first = snapshot.status.at, snapshot.jobs[0]
    for eta, straggles, text in (
        (now + 12, False, "about 12 s left"),
        (now - 40, True, "straggler: over its usual"),
    ):
        running = msgspec.structs.replace(
            first, state=JobState.RUNNING, advice=msgspec.UNSET, started_at=now - 8, eta=eta, straggler=straggles
        )
        lines = plain(Board(tab=JOBS), replace(snapshot, jobs=[running]), width=160)
        assert any(text in line and "8.0 s" in line for line in lines), lines


def test_enter_opens_the_jobs_of_a_lambda_and_then_one(client, snapshot, jobs):
    board = Board(tab=1, words="topped")
    board.press("enter", snapshot)
    assert board.tab == JOBS
    assert board.wish.lambda_.startswith("topped@")
    board.press("enter", snapshot)
    assert board.wish.job in jobs
    opened = take_snapshot(client, board.wish)
    assert any(line.startswith("id ") and str(board.wish.job) in line for line in plain(board, opened))
    board.press("escape", opened)
    assert board.wish.job is None
    board.press("escape", opened)
    assert board.wish == Wish()


def test_states_come_in_turn(drawn):
    board = Board()
    seen = []
    for _ in JOB_STATES:
        board.press("a", drawn)
        seen.append(board.wish.state)
    assert seen == list(JOB_STATES)


def test_a_deed_is_asked_for_first(snapshot, jobs):
    board = Board(tab=JOBS)
    assert board.press("c", snapshot) is None
    assert "cancel job" in plain(board, snapshot)[-1]
    assert board.press("n", snapshot) is None
    board.press("c", snapshot)
    deed = board.press("y", snapshot)
    assert deed == JobDeed("cancel", deed.job)
    assert deed.job in jobs
    board.press("t", snapshot)
    assert "only jobs that failed" in board.note
    board = Board()
    board.press("c", snapshot)
    assert board.note == "select a job first: 4 shows them"


def test_what_guests_wrote_does_not_reach_the_terminal(client):
    name = "evil"
    lambda_id = client.create_lambda(b"", runtime="wasi\x1b[2J", name=name)
    job = client.submit(lambda_id, "x")
    shown = draw_once(take_snapshot(client, Wish(lambda_=name)), 200)
    assert "\x1b" not in "".join(line.plain for line in shown)
    client.cancel(job)


def test_one_picture_for_pipes_and_programs(run, jobs):
    shown = run("top", "--once").out
    assert "lanes" in shown
    assert "top of nothing" in shown
    assert shown == re.sub("\x1b", "", shown)
    document = run("top", "--json").document
    assert {"status", "stats", "workers", "jobs"} == document.keys()
    assert "no answer" not in run("top").out
    assert run("top", url="http://127.0.0.1:9", exit_code=1).err


OWN_TERMINAL = (
    "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"  # so that Ctrl-C and a new size are signals
    "from piecework.cli.main import main; main(prog_name='piecework')"
)


class Terminal:
    """`piecework top` in a terminal of its own."""

    def __init__(self, url: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(slave)
        command = [sys.executable, "-c", OWN_TERMINAL, "--url", url, "top", "--every", "0.5"]
        env = {**os.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
        )
        self.slave = slave
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, words: bytes) -> None:
        """Read on until something was shown after the last such call."""
        end = time.monotonic() + LONG_S
        while words not in self.seen:
            assert time.monotonic() < end, self.seen[-2000:]
            ready, _, _ = select.select([self.master], [], [], 0.1)
            if ready:
                self.seen += os.read(self.master, 65_536)
        self.seen = self.seen[self.seen.index(words) + len(words) :]

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(server_url) -> Iterator[Terminal]:
    terminal = Terminal(server_url)
    yield terminal
    terminal.close()


def check_left(terminal: Terminal) -> None:
    """The program has ended by itself, and the terminal is as it was."""
    terminal.wait_for(b"\x1b[?1049l")
    assert terminal.process.wait(LONG_S) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.integration
@pytest.mark.parametrize("end", ["q", signal.SIGINT, signal.SIGTERM])
def test_the_terminal_is_as_before_however_it_ends(terminal, end):
    terminal.wait_for(b"\x1b[?1049h")
    terminal.wait_for(b"lambdas")
    if end == "q":
        terminal.press(b"q")
    else:
        os.kill(terminal.process.pid, end)
    check_left(terminal)


@pytest.mark.integration
def test_keys_work_in_a_real_terminal_and_it_survives_a_resize(client, jobs, terminal):
    terminal.wait_for(b" waiting")  # then it has heard of the server
    terminal.press(b"4/topped\r")
    terminal.wait_for(b"Enqueued")
    terminal.resize(40, 120)
    terminal.wait_for(b"with 'topped'")
    terminal.resize(5, 20)
    terminal.wait_for(b"lanes")
    terminal.resize(24, 80)
    terminal.press(b"c")
    terminal.wait_for(b"cancel job")
    terminal.press(b"y")
    terminal.wait_for(b"is Cancelled")
    assert sum(client.job(each).state is JobState.CANCELLED for each in jobs) == 1
    terminal.press(b"\x03")
    check_left(terminal)
