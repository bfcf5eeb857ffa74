"""Keys of a terminal, one by one as they are pressed; the terminal is as before when it is over."""

import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = {
    b"\r": "enter", b"\n": "enter", b"\t": "tab", b"\x7f": "backspace", b"\x08": "backspace", b"\x1b": "escape",
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down", b"\x1b[5~": "pageup",
    b"\x1b[6~": "pagedown", b"\x1b[H": "home", b"\x1b[F": "end", b"\x1b[1~": "home", b"\x1b[4~": "end",
}  # fmt: skip
_LONGEST = 4
READ_BYTES = 1024


@contextmanager
def single_keys() -> Iterator[int]:
    """Have the terminal give each key at once, and not show it. Gives its file descriptor."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield terminal
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def read_keys(terminal: int) -> list[str]:
    """Return the keys that were pressed; none when the terminal is gone. What has no name is left out."""
    return parse_keys(os.read(terminal, READ_BYTES))


def parse_keys(data: bytes) -> list[str]:
    """Return the keys that bytes of a terminal mean: letters as they are, others by their names."""
    keys: list[str] = []
    while data:
        size = next((size for size in range(_LONGEST, 0, -1) if data[:size] in NAMES), 0)
        if size == 1 and data[:1] == b"\x1b" and len(data) > 1 and data[1:2] in b"[O":
            data = _skip_sequence(data)
        elif size:
            keys.append(NAMES[data[:size]])
            data = data[size:]
        else:
            letter = data.decode(errors="ignore")[:1]
            keys += [letter] if letter else []
            data = data[max(1, len(letter.encode())) :]
    return keys


def _skip_sequence(data: bytes) -> bytes:
    """Return what follows an escape sequence that is not known."""
    for place in range(2, len(data)):
        if 0x40 <= data[place] <= 0x7E:
            return data[place + 1 :]
    return b""
