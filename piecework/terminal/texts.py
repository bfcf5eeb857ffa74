"""What strangers wrote, on its way to a terminal: a guest's output and log, names, messages of errors.

A terminal obeys control characters: they move the cursor, repaint lines, set the title, turn the order of letters
around, and some make it answer as if somebody typed. So none reaches it; files and pipes get everything as it is.
"""

import codecs
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

_KEPT = "\n\t\u200c\u200d"
"""Line breaks and tabs; and the joiners, which emoji and some scripts are made with."""
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that are not shown but obeyed: control, format, half a character, other line breaks."""
_SUSPECT = re.compile(r"\r(?!\n)|[^\n\r\t -~]")


def escape_text(text: str) -> str:
    r"""Return a text as a terminal may show it: a control character is written out, escape as ``\x1b``.

    Line breaks, also those of Windows, and tabs stay.
    """
    return _SUSPECT.sub(_escape, text)


def escape_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    r"""Go through bytes as ``escape_text`` has them. What is no UTF-8 is written out, too: ``\xff``.

    A character may be cut in two between pieces. Each piece is passed on before the next one is asked for.
    """
    passing = TerminalFilter()
    for piece in pieces:
        yield passing.feed(piece)
    yield passing.feed(b"", final=True)


class TerminalFilter:
    """Makes bytes harmless for a terminal, as ``escape_pieces`` does, a piece at a time."""

    def __init__(self) -> None:
        characters = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        # It keeps a return until what follows.
        self._decoder = io.IncrementalNewlineDecoder(characters, translate=False)

    def feed(self, piece: bytes, *, final: bool = False) -> bytes:
        """Return what a terminal may get of a piece. Half a character waits for the next one, or the ``final``."""
        return escape_text(self._decoder.decode(piece, final=final)).encode()


def escape_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape the texts of a line of a log for people, which may have colours: a processor for structlog."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = escape_text(value)
    return event


def _escape(found: re.Match[str]) -> str:
    letter = found[0]
    if letter in _KEPT or (letter != "\r" and unicodedata.category(letter) not in _HARMFUL):
        return letter
    return letter.encode("unicode_escape").decode()
