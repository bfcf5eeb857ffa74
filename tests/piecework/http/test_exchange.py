"""Requests and responses in envelopes, and the headers that may be sent on."""

from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from piecework.http.exchange import (
    EnvelopeError,
    Request,
    Response,
    pick_sendable,
    read_request,
    read_response,
    write_request,
    write_response,
)

NAMES = st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), unique=True, max_size=4)
HEADERS = st.builds(lambda names, value: tuple((name, value) for name in names), NAMES, st.text(max_size=20))


@given(st.sampled_from(["GET", "POST"]), st.text(), HEADERS, st.binary())
def test_request_is_read_back_as_it_was_written(method, uri, headers, body):
    request = Request(method, uri, headers, body)
    assert read_request(write_request(request)) == request


@given(st.integers(200, 599), HEADERS, st.binary())
def test_response_is_read_back_as_it_was_written(status, headers, body):
    response = Response(status, headers, body)
    assert read_response(write_response(response)) == response


@given(st.binary())
def test_any_input_is_a_request_or_an_envelope_error(text):
    with suppress(EnvelopeError):
        assert isinstance(read_request(text), Request)


def test_values_of_one_header_are_joined_but_cookies_are_not():
    headers = (("A", "1"), ("Set-Cookie", "x=1"), ("a", "2"), ("set-cookie", "y=2"), ("Set-Cookie", "z=3"))
    cookies = (("Set-Cookie", "x=1"), ("Set-Cookie", "y=2"), ("Set-Cookie", "z=3"))
    assert read_response(write_response(Response(200, headers))).headers == (("A", "1, 2"), *cookies)


@pytest.mark.parametrize(
    ("envelope", "hint"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b'{"headers": {}}', "status"),
        (b'{"status": 101, "headers": {}}', "the status is 101"),
        (b'{"status": 200, "headers": {}, "body": "a", "base64": "eA=="}', "both"),
        (b'{"status": 200, "headers": {}, "base64": "?"}', "not base64"),
        (b'{"status": 200, "headers": {}, "more": %b}' % (b"[" * 100_000 + b"]" * 100_000), "recursion"),
        (b'{"status": 200, "headers": {"A": ["%b"]}}' % b'","'.join([b"x"] * 20_000), "more than 65536"),
    ],
)
def test_text_that_is_no_response_is_told_why(envelope, hint):
    with pytest.raises(EnvelopeError, match=f"no HTTP response envelope: .*{hint}"):
        read_response(envelope)


@pytest.mark.parametrize(
    "header",
    [
        ("Content-Length", "1"),
        ("transfer-encoding", "chunked"),
        ("Connection", "close"),
        ("Upgrade", "websocket"),
        ("X", "a\r\nSet-Cookie: b"),
        ("X", "a\nb"),
        ("X", "a\0b"),
        ("X: y\r\nZ", "a"),
        ("", "a"),
        ("a b", "c"),
        ("é", "c"),
    ],
)
def test_header_that_could_do_harm_is_left_out(header):
    assert pick_sendable((("A", "b"), header, ("C", "d"))) == (("A", "b"), ("C", "d"))


def test_other_headers_are_sent_as_they_are():
    headers = (("Set-Cookie", "a=b; Path=/"), ("X-Snow", "☃"), ("X-Tab", "a\tb"), ("Server", "mine"))
    assert pick_sendable(headers) == headers
