"""Tokens that are read anew where they came from: a rotation needs no restart."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from piecework.configuration.files import LARGEST_BYTES, find_exposure
from piecework.http.urls import check_token

TOKEN, TOKEN_FILE = "PIECEWORK_TOKEN", "PIECEWORK_TOKEN_FILE"  # names of variables
COMMAND_S = 30.0
"""A command that prints a token ends within this time."""
COMMAND_EVERY_S = 5.0
"""However often a token is refused, its command is not run again before."""


class RenewedToken(str):  # noqa: SLOT000  # there are few
    """The text of a token, which knows where there is a newer one. It is a text like any other to all others."""

    _read: Callable[[], str]
    _lock: threading.Lock
    _last: str
    path: Path | None
    """The file that has it, if there is one."""

    def __new__(cls, read: Callable[[], str], path: Path | None = None) -> Self:
        """Read the token for the first time. Raises what ``read`` does: OSError or ValueError."""
        made = super().__new__(cls, read())
        made._read, made._lock, made._last, made.path = read, threading.Lock(), str(made), path
        return made

    @property
    def newest(self) -> str:
        """The token as it was read last."""
        return self._last

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Copies are plain texts: what reads the token anew stays in this process."""
        return str, (str.__str__(self),)

    def renew(self, refused: str) -> str | None:
        """Return the token as it is now, where that is another one than the one that was refused; else None.

        What cannot be read now gives None, too: the old one is refused with what the server says.
        """
        with self._lock:
            if self._last == refused:
                try:
                    self._last = self._read()
                except (OSError, ValueError):
                    return None
            return None if self._last == refused else self._last


def read_token_file(path: Path) -> tuple[str, str]:
    """Return the token in a file, and who may read it that should not ("" for nobody).

    Raises OSError and ValueError, which says what is wrong.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES)
        exposure = find_exposure(path, os.fstat(file.fileno()), secret=True)
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8") from None
    if not text:
        raise ValueError(f"{path} is empty")
    return check_token(text), exposure


def open_token_file(path: Path) -> tuple[RenewedToken, str]:
    """Do what ``read_token_file`` does, for a token that is read again when a server refuses it."""
    exposures = []

    def read() -> str:
        text, exposure = read_token_file(path)
        exposures.append(exposure)
        return text

    token = RenewedToken(read, path)
    return token, exposures[0]


def open_token_command(
    words: Sequence[str],
    *,
    run: Callable[[Sequence[str]], str] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> RenewedToken:
    """Return the token that a command prints. It is run again when a server refuses the token.

    Raises ValueError that says what is wrong, with nothing of what was printed.
    """
    run = run or run_command
    read_at: list[float] = []

    def read() -> str:
        if read_at and monotonic() - read_at[-1] < COMMAND_EVERY_S:
            raise ValueError("the command was run a moment ago")
        read_at[:] = [monotonic()]
        return run(words)

    return RenewedToken(read)


def run_command(words: Sequence[str]) -> str:
    """Return the token that a command prints. Raises ValueError."""
    name = words[0]
    import subprocess  # noqa: PLC0415  # clients start sooner without

    try:
        # Its own messages go to standard error, for whoever started the program.
        done = subprocess.run(  # noqa: S603  # the owner of the file named it
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_S, check=True
        )
        text = done.stdout.decode().strip()
    except subprocess.TimeoutExpired:
        raise ValueError(f"{name} did not end within {COMMAND_S:g} s") from None
    except subprocess.CalledProcessError as error:
        raise ValueError(f"{name} ended with {error.returncode}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} printed what is not UTF-8") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} cannot be run: {getattr(error, 'strerror', None) or error}") from None
    if not text:
        raise ValueError(f"{name} printed nothing")
    return check_token(text)


def add_token_of_file(environ: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
    """Return an environment with the token that PIECEWORK_TOKEN_FILE names, where PIECEWORK_TOKEN is not set.

    And who may read it that should not. Raises ValueError that says what is wrong.
    """
    named = environ.get(TOKEN_FILE, "").strip()
    if not named or environ.get(TOKEN, "").strip():
        return environ, ""
    try:
        token, exposure = open_token_file(Path(named))
    except OSError as error:
        raise ValueError(f"{TOKEN_FILE}: {named} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{TOKEN_FILE}: {error}") from error
    return {**environ, TOKEN: token}, exposure
