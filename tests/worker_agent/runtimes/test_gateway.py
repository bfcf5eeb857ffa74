"""HTTP for commands: what is put into variables, and which outputs are which responses."""

from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from piecework.http.exchange import Request, Response
from piecework.worker_agent.runtimes.gateway import CgiAnswerError, CgiRequestError, make_variables, read_answer


def test_request_is_in_variables():
    headers = (("Host", "a.test:81"), ("Content-Type", "text/x"), ("X-A", "1"), ("x-a", "2"), ("Proxy", "evil:1"))
    assert make_variables(Request("PUT", "/one%20two/%C3%A9?q=%20", headers, b"abc"), {"COLOUR": "red"}) == {
        "COLOUR": "red",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "a.test",
        "REQUEST_METHOD": "PUT",
        "REQUEST_URI": "/one%20two/%C3%A9?q=%20",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/one two/é",
        "QUERY_STRING": "q=%20",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "3",
        "HTTP_HOST": "a.test:81",
        "HTTP_CONTENT_TYPE": "text/x",
        "HTTP_X_A": "1, 2",
    }


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_with_underscores_is_not_one_with_hyphens(order: int):
    headers = (("X-Auth-User", "alice"), ("X_Auth_User", "admin"), ("X_Other", "b"))[::order]
    found = make_variables(Request(headers=headers), {})
    assert (found["HTTP_X_AUTH_USER"], found["HTTP_X_OTHER"]) == ("alice", "b")


def test_header_cannot_replace_a_variable_of_the_function():
    found = make_variables(Request(headers=(("Key", "theirs"),)), {"HTTP_KEY": "ours", "REQUEST_METHOD": "x"})
    assert (found["HTTP_KEY"], found["REQUEST_METHOD"]) == ("ours", "GET")


@pytest.mark.parametrize("request_", [Request(uri="/a%00b"), Request(headers=(("A", "b\0c"),))])
def test_zero_byte_is_refused(request_):
    with pytest.raises(CgiRequestError, match="zero byte"):
        make_variables(request_, {})


@pytest.mark.parametrize(
    ("host", "name"), [("a.test", "a.test"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")]
)
def test_name_of_the_server_has_no_port(host, name):
    assert make_variables(Request(headers=(("Host", host),)), {})["SERVER_NAME"] == name


@pytest.mark.parametrize(
    ("output", "response"),
    [
        (b"hello", Response(200, (("Content-Type", "text/plain; charset=utf-8"),), b"hello")),
        (b"", Response(200, (("Content-Type", "text/plain; charset=utf-8"),), b"")),
        (b"\xff", Response(200, (("Content-Type", "application/octet-stream"),), b"\xff")),
        (b"Status: 404 Not Found\nX: y\n\nno", Response(404, (("X", "y"),), b"no")),
        (b"content-type:text/html\r\n\r\n<p>\n\n", Response(200, (("content-type", "text/html"),), b"<p>\n\n")),
        (b"Location: /b\n\n", Response(302, (("Location", "/b"),), b"")),
        (b"Location: /b\nStatus: 201\n\n", Response(201, (("Location", "/b"),), b"")),
        # What echoes a caller's text into a header must not write a second one, however that text looks.
        (b"Status: 200\nX: a\rB: c\n\n", Response(200, (("X", "a\rB: c"),), b"")),
        ("Status: 200\nX: a\x85B: c\u2028D: e\n\n".encode(), Response(200, (("X", "a\x85B: c\u2028D: e"),), b"")),
    ],
)
def test_output_is_a_response(output, response):
    assert read_answer(output) == response


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        (b"Content-Type: text/html", "no empty line"),
        (b"Content-Type: text/html\n" + b"A: b\n" * 20_000 + b"\n", "no empty line"),
        (b"Status: 200\nhello\n\n", "'hello' is none"),
        (b"Status: fine\n\n", "the status 'fine'"),
        (b"Status:\n\n", "the status ''"),
        (b"Status: 101\n\n", "the status '101'"),
        (b"Status: 99999\n\n", "the status '99999'"),
    ],
)
def test_headers_that_are_wrong_are_told(output, hint):
    with pytest.raises(CgiAnswerError, match=hint):
        read_answer(output)


@given(st.binary())
def test_whatever_comes_after_an_announcement_is_a_response_or_a_clear_error(rest):
    with suppress(CgiAnswerError):
        assert 200 <= read_answer(b"Status:" + rest).status < 600
