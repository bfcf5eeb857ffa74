"""How Capsule's texts are put together and taken apart, for any content."""

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from piecework.http.exchange import Request, Response
from piecework.worker_agent.runtimes.capsule import envelopes
from piecework.worker_agent.runtimes.capsule.envelopes import BadAnswerError, BadRequestError, GuestError
from piecework.worker_agent.runtimes.capsule.generations import GENERATIONS

DEEP = b"[" * 100_000 + b"]" * 100_000
OLD = [GENERATIONS[number] for number in (1, 2, 3)]
NEW = GENERATIONS[4]
TOKENS = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True)
VALUES = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_characters="|²³", exclude_categories=["C", "Z"])
)
HEADERS = st.dictionaries(TOKENS, VALUES, min_size=1, max_size=4).map(lambda found: tuple(found.items()))
old_ones = pytest.mark.parametrize("generation", OLD, ids="123")


@given(HEADERS, st.sampled_from("|²³"))
def test_headers_survive_being_joined(headers, separator):
    assert envelopes.split_headers(envelopes.join_headers(headers, separator).encode(), separator) == headers


@given(st.lists(st.tuples(TOKENS, st.text(max_size=20)), max_size=4), st.sampled_from("|²³"))
def test_joined_headers_are_never_empty_and_never_more_than_there_were(headers, separator):
    text = envelopes.join_headers(tuple(headers), separator)
    assert text
    assert text.count(separator) == max(1, len(headers)) - 1


@old_ones
@given(body=st.binary(), headers=HEADERS)
def test_body_and_headers_of_a_response_are_told_apart(generation, body, headers):
    result = b"[BODY]" + body + b"[HEADERS]" + envelopes.join_headers(headers, generation.headers_out).encode()
    assert envelopes.read_response(result, generation) == Response(200, headers, body)


@old_ones
@given(message=st.text())
def test_error_is_read_back_as_it_was_put(generation, message):
    with pytest.raises(GuestError) as caught:
        envelopes.read_text(envelopes.put_error(message, generation), generation)
    assert str(caught.value) == message


@given(st.binary())
def test_lettered_answers_are_read_back(text):
    assert envelopes.read_text(envelopes.put_answer(text, NEW), NEW) == text


@pytest.mark.parametrize("generation", GENERATIONS.values(), ids="1234")
@given(result=st.binary(max_size=200))
def test_whatever_a_guest_answers_is_a_response_or_a_clear_error(generation, result):
    for marked in (result, b"S" + result, b"[BODY]" + result, b"[ERR][3]:" + result):
        with suppress(BadAnswerError):
            assert 100 <= envelopes.read_response(marked, generation).status <= 599


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (b"[ERR][0]:no", "no"),
        (b"[ERR][12]:no", "no (12)"),
        (b"[ERR][0]:", ""),
        (b"[ERR][1]:two\nlines", "two\nlines (1)"),
        (b"[ERR][" + b"9" * 5000 + b"]:no", "no (999999999999999999)"),
    ],
)
def test_errors_show_their_code_unless_it_is_0(result, message):
    with pytest.raises(GuestError) as caught:
        envelopes.read_text(result, OLD[0])
    assert str(caught.value) == message


def test_text_that_only_looks_like_an_error_is_a_text():
    for text in (b"[ERR]", b"[ERR][x]:no", b"see [ERR][0]:no", b"[ERR][0]no"):
        assert envelopes.read_text(text, OLD[0]) == text


@old_ones
def test_error_is_json_only_where_the_handler_said_so(generation):
    for kind, body in (("application/json; x", b'{"error":"no","from":"host"}'), ("text/html", b"no")):
        result = b"[ERR][0]:no[HEADERS]Content-Type:" + kind.encode()
        assert envelopes.read_response(result, generation) == Response(500, (("Content-Type", kind),), body)


@given(headers=HEADERS, body=st.text(), uri=st.text())
def test_requests_of_the_fourth_generation_are_json_with_headers_in_a_text(headers, body, uri):
    seen = json.loads(envelopes.write_request(Request("PUT", uri, headers, body.encode())))
    assert (seen["Body"], seen["TextBody"], seen["URI"], seen["Method"]) == (body, body, uri, "PUT")
    assert json.loads("{" + seen["Headers"] + "}") == dict(headers)


def answer(**fields):
    return b"S" + json.dumps({"JSONBody": {}, "TextBody": "", "Headers": {}, "StatusCode": 200, **fields}).encode()


@given(st.binary(min_size=1))
def test_text_body_of_the_fourth_generation_is_base64(body):
    found = envelopes.read_response(answer(TextBody=base64.b64encode(body).decode()), NEW)
    assert found.body == body


def test_json_body_is_passed_on_as_it_is():
    assert envelopes.read_response(answer(JSONBody=[1, {"b": 2}]), NEW).body == b'[1, {"b": 2}]'
    assert envelopes.read_response(answer(Headers={"A": ["x", "y"]}), NEW).headers == (("A", "x"), ("A", "y"))
    assert envelopes.read_response(b"Fno", NEW).status == 500


@pytest.mark.parametrize(
    "bad",
    [
        answer(StatusCode=7),
        answer(TextBody="?"),
        answer(TextBody="é"),
        answer(Headers=[1]),
        b'S{"JSONBody":' + DEEP + b"}",
        b"S{",
        b"",
        b"x",
    ],
    ids=lambda bad: repr(bad[:60]),
)
def test_answer_that_is_no_response_is_named(bad):
    with pytest.raises(BadAnswerError):
        envelopes.read_response(bad, NEW)


@pytest.mark.parametrize(
    "headers", ['"A":"b","C":"d"', '{"A":"b","C":"d"}', {"A": "b", "C": "d"}], ids=["pairs", "text", "object"]
)
def test_headers_of_a_request_to_send_come_in_three_ways(headers):
    text = json.dumps({"URI": "http://a", "Method": "post", "Headers": headers, "TextBody": "x"}).encode()
    assert envelopes.read_outgoing(text) == Request("POST", "http://a", (("A", "b"), ("C", "d")), b"x")


def test_request_to_send_that_is_no_json_is_named():
    for text in (b"", b"[]", b'{"Headers": "x"}', b'{"URI": 7}', b'{"JSONBody":' + DEEP + b"}"):
        with pytest.raises(BadRequestError):
            envelopes.read_outgoing(text)


def test_request_to_send_that_is_no_utf8_is_named():
    with pytest.raises(envelopes.BadRequestError, match="not the JSON"):
        envelopes.read_outgoing(b'{"Body": "\xed\xa0\x80"}')
