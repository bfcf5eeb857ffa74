"""Requests as WSGI has them, and bodies as granian brings them to threads."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from piecework.http.requests import SCOPE, encode_headers, find_length, has_host_fault, make_environ
from piecework.http.threads import BrokenBody, IncomingBody, WsgiExchange

END = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/not-looked-at", "raw_path": b"/a%20b",
        "query_string": b"q=1", "server": ("127.0.0.1", 8000), "client": ("10.0.0.7", 5), "headers": list(headers),
    }  # fmt: skip


class Done:
    """Something that granian did at once."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def add_done_callback(self, call: Any) -> None:
        call(self)

    def result(self) -> Any:
        return self._result


class Line:
    """What comes of a body, one part after the other."""

    def __init__(self, *parts: dict[str, Any]) -> None:
        self._parts = list(parts)

    def receive(self) -> Done:
        return Done(self._parts.pop(0))


def body_of(*parts: dict[str, Any], length: int | None = None) -> IncomingBody:
    first, *rest = parts
    return IncomingBody(Line(*rest), first, length)


def test_an_environment_says_what_was_sent():
    asked = scope((b"content-type", b"a/b"), (b"content-length", b"3"), (b"x-a", b"\xc3\xa9"), (b"host", b"h"))
    environ = make_environ(asked, body := object(), underscores=False)
    assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["REMOTE_ADDR"]) == ("/a b", "q=1", "10.0.0.7")
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"], environ["HTTP_HOST"]) == ("a/b", "3", "h")
    assert environ["HTTP_X_A"] == b"\xc3\xa9".decode("latin-1")
    assert (environ["wsgi.input"], environ[SCOPE]) == (body, asked)


def test_headers_of_one_name_are_joined():
    asked = scope((b"x-a", b"1"), (b"cookie", b"a=1"), (b"x-a", b"2"), (b"cookie", b"b=2"))
    environ = make_environ(asked, None, underscores=False)
    assert (environ["HTTP_X_A"], environ["HTTP_COOKIE"]) == ("1,2", "a=1; b=2")


@pytest.mark.parametrize("name", [b"x_user", b"x-us_er", b"content_length", b"_"])
def test_a_name_with_an_underscore_is_left_out_unless_asked_for(name: bytes):
    plain = make_environ(scope(), None, underscores=False).keys()
    assert make_environ(scope((name, b"1")), None, underscores=False).keys() == plain
    assert len(make_environ(scope((name, b"1")), None, underscores=True)) == len(plain) + 1


def test_a_length_is_told_or_not():
    assert find_length(scope((b"content-length", b"12"))) == 12
    assert find_length(scope((b"content-length", b"-1"))) is None
    assert find_length(scope()) is None


def test_headers_of_an_answer_are_bytes_as_they_were_or_utf8():
    assert encode_headers([("X-A", "\xe9"), ("X-B", "☃")]) == [(b"x-a", b"\xe9"), (b"x-b", "☃".encode())]


def test_a_body_is_read_to_its_end():
    body = body_of(part(b"ab"), part(b""), part(b"cde"), END)
    assert [body.read(1), body.read(3), body.read(9), body.read(9), body.read()] == [b"a", b"bcd", b"e", b"", b""]


def test_a_body_of_known_length_needs_no_news_of_its_end():
    assert body_of(part(b"ab"), part(b"c"), length=3).read(100) == b"abc"


@pytest.mark.parametrize("length", [None, 5])
def test_a_body_that_breaks_off_never_looks_whole(length: int | None):
    body = body_of(part(b"ab"), GONE, length=length)
    assert body.read(2) == b"ab"
    for _ in range(2):
        with pytest.raises(BrokenBody):
            body.read(1)
    with pytest.raises(BrokenBody):
        body_of(part(b"ab"), GONE, length=length).read()


def test_no_body_is_an_empty_one():
    assert IncomingBody(Line(), None, None).read() == b""


class Later:
    """Something that granian does later."""

    def add_done_callback(self, call: Any) -> None:
        self.tell = lambda result: call(Done(result))


class Sent:
    """The way of an answer: what happens, in order; and what is heard of the caller."""

    def __init__(self, *news: dict[str, Any]) -> None:
        self.events: list[object] = []
        self.looks: list[Later] = []
        self._news = list(news)

    def send(self, message: dict[str, Any]) -> Done:
        self.events.append(message.get("body", message.get("status")))
        return Done(None)

    def receive(self) -> Done | Later:
        if self._news:
            return Done(self._news.pop(0))
        self.looks.append(Later())
        return self.looks[-1]


class Pieces:
    """What an app answers, piece by piece."""

    def __init__(self, events: list[object], *pieces: bytes) -> None:
        self._events = events
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    def close(self) -> None:
        self._events.append("closed")


def answer(sent: Sent, length: int, *pieces: bytes) -> list[object]:
    exchange = WsgiExchange(sent)
    exchange.start("200 OK", [("Content-Length", str(length))])
    exchange.send(Pieces(sent.events, *pieces))
    return sent.events


def test_the_last_piece_of_an_answer_is_sent_last_of_all():
    assert answer(Sent(), 4, b"ab", b"cd") == [200, "closed", b"abcd"]
    assert answer(Sent(), 100_000, b"ab", b"", b"cd") == [200, b"ab", b"cd", "closed", b""]


def test_nothing_more_is_sent_to_a_caller_that_left():
    assert answer(Sent(END, GONE), 100_000, b"ab", b"cd") == [200, "closed"]


def test_who_asks_is_told_once_that_the_caller_left():
    told: list[str] = []
    exchange = WsgiExchange(Sent(part(b"unread"), END, GONE, GONE))
    exchange.watch(partial(told.append, "first"))
    assert told == ["first"]
    exchange.watch(partial(told.append, "second"))
    assert told == ["first", "second"]


def test_two_who_ask_share_one_look():
    told: list[str] = []
    exchange = WsgiExchange(sent := Sent())
    exchange.watch(partial(told.append, "first"))
    exchange.watch(partial(told.append, "second"))
    assert not told
    [look] = sent.looks
    look.tell(GONE)
    assert told == ["first", "second"]


@pytest.mark.parametrize(
    "host", ["a", "queue.test:8000", "127.0.0.1:", "[::1]:80", "[fe80::1%25eth0]", "a_b", "xn--bcher-kva.test"]
)
def test_a_host_with_or_without_a_port_is_fine(host: str) -> None:
    assert not has_host_fault("1.1", host)


@pytest.mark.parametrize(
    "host", ["a,b", "a, a", "a b", "a/b", "user@a", ":80", "a:8x", "[::1", "b\u00fccher.test"]
)
def test_what_is_no_host_is_a_fault(host: str) -> None:
    assert has_host_fault("1.1", host)
    assert has_host_fault("1.0", host)


def test_only_old_requests_need_no_host() -> None:
    assert has_host_fault("1.1", "")
    assert not has_host_fault("1.0", "")
    assert not has_host_fault("1", "")
