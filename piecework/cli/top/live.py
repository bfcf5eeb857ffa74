"""The loop of `piecework top`: keys, a thread that asks the server, and the screen."""

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from rich.console import Console
from rich.live import Live
from rich.text import Text

from piecework.cli.top.board import Board, JobDeed
from piecework.cli.top.drawing import draw
from piecework.cli.top.keys import read_keys, single_keys
from piecework.cli.top.snapshot import Snapshot, Wish, take_snapshot
from piecework.client import Client, ClientError

LOOK_S = 1.0
"""The screen is drawn at least so often: a terminal that changed its size may not have said so."""


class Asker:
    """Asks the server in a thread of its own, so that keys are answered at once while it is slow or away."""

    def __init__(self, client: Client, wake: Callable[[], object]) -> None:
        self._client = client
        self._wake = wake
        self._asked: SimpleQueue[tuple[Wish, JobDeed | None] | None] = SimpleQueue()
        self.snapshot: Snapshot | None = None
        self.trouble = ""
        self.note: str | None = None
        """What came of a deed, once."""
        self.is_busy = False
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)
        self._thread.start()

    def ask(self, wish: Wish, deed: JobDeed | None = None) -> None:
        """Have something done, if anything, and then read all anew."""
        self.is_busy = True
        self._asked.put((wish, deed))

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            wish, deed = asked
            try:
                if deed is not None:
                    self.note = self._do(deed)
                wish = self._newest(wish)
                self.snapshot, self.trouble = take_snapshot(self._client, wish), ""
            except ClientError as error:
                self.trouble = str(error)
            self.is_busy = False
            self._wake()

    def _newest(self, wish: Wish) -> Wish:
        """Return what was asked for last, when nothing is to be done in between."""
        while not self._asked.empty():
            try:
                following = self._asked.get_nowait()
            except Empty:
                return wish
            if following is None or following[1] is not None:
                self._asked.put(following)
                return wish
            wish = following[0]
        return wish

    def _do(self, deed: JobDeed) -> str:
        try:
            if deed.what == "cancel":
                return self._client.cancel(deed.job)
            return f"job {self._client.retry(deed.job)} runs again"
        except ClientError as error:
            return str(error)


@contextmanager
def _signals(wake_fd: int) -> Iterator[threading.Event]:
    """Note that the program is to end, and wake who waits, also when the terminal changes its size."""
    ending = threading.Event()

    def wake(*_: object) -> None:
        os.write(wake_fd, b"w")

    def end(*_: object) -> None:
        ending.set()
        wake()

    wanted = {signal.SIGWINCH: wake, signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: end}
    before = {each: signal.signal(each, handler) for each, handler in wanted.items()}
    try:
        yield ending
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def run_live(client: Client, board: Board, console: Console) -> None:
    """Show a server until somebody leaves. The terminal is as before then, whatever ended it."""
    heard, wake_fd = os.pipe()
    os.set_blocking(wake_fd, False)
    asker = Asker(client, lambda: os.write(wake_fd, b"w"))
    try:
        with (
            _signals(wake_fd) as ending,
            single_keys() as terminal,
            Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False) as live,
        ):
            _loop(board, asker, ending, live, (terminal, heard))
    finally:
        os.close(heard)


def _loop(board: Board, asker: Asker, ending: threading.Event, live: Live, places: tuple[int, int]) -> None:
    terminal, heard = places
    asker.ask(board.wish)
    wish, waited_s = board.wish, 0.0
    while not (board.leaving or ending.is_set()):
        if asker.note is not None:
            board.note, asker.note = asker.note, None
        _show(board, asker, live)
        step_s = min(LOOK_S, board.interval_s)
        ready, _, _ = select.select([terminal, heard], [], [], step_s)
        waited_s = waited_s if ready else waited_s + step_s
        if heard in ready:
            os.read(heard, 1024)
        if terminal in ready:
            keys = read_keys(terminal)
            if not keys and not _is_there(terminal):
                return
            for key in keys:
                board.note = ""
                if deed := board.press(key, asker.snapshot):
                    asker.ask(board.wish, deed)
        if board.wish != wish or (waited_s >= board.interval_s and not asker.is_busy and not board.still):
            wish, waited_s = board.wish, 0.0
            asker.ask(wish)


def _show(board: Board, asker: Asker, live: Live) -> None:
    width, height = live.console.size
    lines = draw(board, asker.snapshot, asker.trouble, width, height)
    live.update(Text("\n").join(lines), refresh=True)


def _is_there(terminal: int) -> bool:
    try:
        return os.isatty(terminal)
    except OSError:
        return False
