import base64

import pytest
from hypothesis import given, strategies as st
from msgspec import UNSET

from piecework.protocol import bodies
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, blob_id, read_ref

MEDIA_TYPES = (bodies.JSON, bodies.MSGPACK)


@given(st.binary(max_size=300), st.sampled_from(MEDIA_TYPES))
def test_bytes_arrive_as_they_were_sent(data, media_type):
    content = Content.of(data, packed=media_type == bodies.MSGPACK)
    assert bodies.decode(bodies.encode(content, media_type), Content, media_type).read() == data


def test_utf8_is_sent_as_text_and_the_rest_as_base64():
    assert Content.of("grüße".encode(), packed=False) == Content(text="grüße")
    assert Content.of(b"\xff\x00", packed=False) == Content(base64_=base64.b64encode(b"\xff\x00").decode())
    assert Content.of(b"\xff", packed=True, blob=Id(3)) == Content(id=Id(3), raw=b"\xff")


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b'{"text": "hi"}', b"hi"),
        (b'{"text": ""}', b""),
        (b'{"base64": "AAE="}', b"\x00\x01"),
        (b'{"bytes": "AAE="}', b"\x00\x01"),
        (b'{"json": {"a": [1, 2]}}', b'{"a":[1,2]}'),
        (b'{"json": null}', b"null"),
    ],
)
def test_each_spelling_is_read(body, data):
    content = bodies.decode(body, Content)
    assert content.is_inline
    assert content.read() == data


@pytest.mark.parametrize(
    "content", [Content(), Content(id=Id(4)), Content(text="a", raw=b"a"), Content(text="a", json_=None)]
)
def test_content_needs_exactly_one_spelling(content):
    with pytest.raises(ValueError, match="exactly one of"):
        content.read()


@pytest.mark.parametrize("text", ["a", "AA=A", "é", "AA\nA="])
def test_broken_base64_is_refused(text):
    with pytest.raises(ValueError, match="base64"):
        Content(base64_=text).read()


@pytest.mark.parametrize(
    ("ref", "found"),
    [
        (None, None),
        ("0", None),
        (0, None),
        ("17", 17),
        (17, 17),
        (Content(id=Id(17)), 17),
        (Content(text="hi"), None),
        (Content(id=Id(17), text="hi"), 17),
    ],
)
def test_a_reference_names_a_blob_or_none(ref, found):
    assert blob_id(ref) == found


def test_a_reference_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="an id is a decimal number"):
        blob_id("seventeen")


@pytest.mark.parametrize(
    ("ref", "found"),
    [
        (None, (None, None)), ("17", (None, 17)), (Content(id=Id(17)), (None, 17)),
        (Content(id=Id(0)), (None, None)), (Content(raw=b"hi"), (b"hi", None)),
        (Content(id=Id(17), text="hi"), (b"hi", None)),
    ],
)  # fmt: skip
def test_a_reference_holds_bytes_or_names_a_blob_or_neither(ref, found):
    assert read_ref(ref) == found


def test_a_reference_with_neither_bytes_nor_blob_is_refused():
    with pytest.raises(ValueError, match="exactly one of"):
        read_ref(Content(id=UNSET))
