import pytest

from piecework.terminal.texts import escape_pieces, escape_text

OBEYED = {
    "\x1b[31mred": r"\x1b[31mred",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x1b[6n": r"\x1b[6n",
    "\x9b2J": r"\x9b2J",
    "over\rwritten": r"over\rwritten",
    "back\b": r"back\x08",
    "\x7f\0": r"\x7f\x00",
    "user\u202egpj.exe": r"user\u202egpj.exe",
    "half \ud800": r"half \ud800",
    "line\u2028break": r"line\u2028break",
    "\U000e0001tag": r"\U000e0001tag",
}
SHOWN = ["", "a\ttab\n", "Windows\r\n", "naïve 日本 \u00a0 |", "👩\u200d👩\u200d👧", "क्\u200cष", r"\x1b"]


@pytest.mark.parametrize("text", OBEYED)
def test_what_a_terminal_obeys_is_written_out(text):
    assert escape_text(text) == OBEYED[text]


@pytest.mark.parametrize("text", SHOWN)
def test_what_a_terminal_shows_stays(text):
    assert escape_text(text) == text


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_bytes_cut_anywhere_are_escaped_like_text(size):
    text = "".join(each for each in (*OBEYED, *SHOWN) if "\ud800" not in each)
    data = text.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert b"".join(escape_pieces(pieces)).decode() == escape_text(text)


def test_bytes_that_are_no_text_are_written_out():
    assert b"".join(escape_pieces([b"\xff\x9b1", b"m\xc3"])) == rb"\xff\x9b1m\xc3"


def test_a_piece_is_passed_on_before_the_next_comes():
    taken = []

    def produce():
        for piece in (b"one\n", b"two\n"):
            taken.append(piece)
            yield piece

    assert next(escape_pieces(produce())) == b"one\n"
    assert taken == [b"one\n"]


def test_a_return_at_the_end_is_written_out():
    assert b"".join(escape_pieces([b"a\r"])) == rb"a\r"
