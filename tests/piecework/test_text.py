"""The rule for texts, in every place of every message: one that is added later is found here, too."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from leaves import Leaf, message_types, pack, plant, write

from piecework.protocol.bodies import JSON, MSGPACK, BodyDecodeError, MessageError, decode, encode
from piecework.protocol.messages import Content, JobError, JobSubmit, LambdaCreate, Message, WorkerRegister
from piecework.protocol.text import clean_text, find_fault

FREE = {"text", "json"}
"""What an input or output is made of: bytes, however they are spelled."""


def is_free(leaf: Leaf) -> bool:
    return leaf.place[-1] in FREE and leaf.place[-2:-1] in {
        ("input",),
        ("output",),
        ("journal",),
        ("input_id",),
        ("files",),
        ("content",),
    }


def refusal(body: bytes, type_: type, media_type: str) -> str:
    with pytest.raises(MessageError) as caught:
        decode(body, type_, media_type)
    return str(caught.value)


@pytest.mark.parametrize("type_", message_types())
def test_a_nul_is_refused_in_every_text(type_: type[Message]):
    for leaf in plant(type_, "a\0b"):
        if is_free(leaf):
            continue
        for body, media_type in ((write(leaf), JSON), (pack(leaf), MSGPACK)):
            says = refusal(body, type_, media_type)
            assert leaf.place[-1] in says, leaf
            # What is read as an id, or has a pattern, is none.
            assert any(word in says for word in ("NUL", "decimal number", "matching regex")), leaf


@pytest.mark.parametrize("type_", message_types())
def test_half_a_surrogate_pair_is_refused_in_every_text(type_: type[Message]):
    for leaf in plant(type_, "a\ud800b"):
        says = refusal(write(leaf), type_, JSON)
        assert leaf.place[-1] in says, leaf
        assert "surrogate" in says, leaf


@pytest.mark.parametrize("type_", message_types())
def test_other_texts_are_taken_as_they_are(type_: type[Message]):
    for leaf in plant(type_, "é😀\x01\x7f\uffff\\u0000"):
        with suppress(MessageError):  # such a text is no id, and no state
            decode(write(leaf), type_)
            continue
        assert leaf.place[-1] in {
            "id", "input", "output", "input_id", "env", "runtime", "files", "content", "payloadType", "keyid",
            "checksum", "function",
        }, leaf  # fmt: skip


def test_every_kind_of_message_has_a_text_somewhere():
    assert len(message_types()) >= 16
    with_texts = [each for each in message_types() if any(plant(each, "x"))]
    assert {each.__name__ for each in set(message_types()) - set(with_texts)} <= {
        "CallsHandIn",
        "DeploymentScale",
        "LimitPut",
        "TenantPut",
    }


@pytest.mark.parametrize("content", [{"text": "a\0b"}, {"json": {"a\0": "\0"}}])
def test_what_an_input_holds_may_be_anything(content: dict[str, Any]):
    for body, media_type in (
        (json.dumps({"input": content}).encode(), JSON),
        (msgspec.msgpack.encode({"input": content}), MSGPACK),
    ):
        found = decode(body, JobSubmit, media_type).input
        assert isinstance(found, Content)
        assert b"\0" in found.read() or b"\\u0000" in found.read()


def test_messages_without_a_nul_in_a_text_are_not_looked_through(monkeypatch: pytest.MonkeyPatch):
    """Looking through a job takes as long as a third of all that the server does for it."""
    monkeypatch.setattr("piecework.protocol.text.find_fault", None)
    sent = JobSubmit(lambda_="256", input=Content(raw=b"a\0b"), args=["a"])
    for media_type in (JSON, MSGPACK):
        body = encode(sent, media_type)
        assert (b"\0" in body) == (media_type == MSGPACK)
        assert decode(body, JobSubmit, media_type) == sent or media_type == JSON


def test_what_json_has_not_is_looked_through():
    body = msgspec.msgpack.encode({"input": {"json": msgspec.msgpack.Ext(1, b"\0")}, "key": "a\0b"})
    assert "key has the character NUL" in refusal(body, JobSubmit, MSGPACK)


def test_a_text_of_messagepack_that_is_not_utf8_is_named():
    body = msgspec.msgpack.encode({"runtime": "x", "name": "Z"}).replace(b"Z", b"\xff")
    assert refusal(body, LambdaCreate, MSGPACK) == "name has a text that is not UTF-8"


def test_json_that_is_not_utf8_is_no_json():
    with pytest.raises(BodyDecodeError, match="is not JSON"):
        decode(b'{"name": "\xff"}', LambdaCreate)


@pytest.mark.parametrize("name", ["", "A=B", "=", "A\0"])
def test_what_cannot_be_a_variable_is_refused(name: str):
    for type_ in message_types():
        if "env" in type_.__struct_fields__:
            says = refusal(json.dumps({"runtime": "x", "env": {name: "1"}}).encode(), type_, JSON)
            assert "the name of a variable: not empty, without = and NUL" in says
            assert "env" in says


@pytest.mark.parametrize("type_", [LambdaCreate, WorkerRegister])
def test_a_name_is_not_empty(type_: type[Message]):
    runtime = [] if type_ is WorkerRegister else "x"
    assert "$.name" in refusal(json.dumps({"runtime": runtime, "name": ""}).encode(), type_, JSON)


def test_what_python_has_for_bad_bytes_is_not_sent():
    with pytest.raises(MessageError, match=r"^args\[1\] has a byte that is not UTF-8"):
        encode(JobSubmit(args=["a", "b\udcff"]))


def test_an_error_is_cleaned_before_it_is_sent():
    error = JobError(kind="guest", message="a\0b", trace="\udcff").clean()  # type: ignore[arg-type]
    assert (error.message, error.trace) == ("a\ufffdb", "\ufffd")
    assert find_fault(error) is None


def test_a_text_without_fault_stays():
    assert clean_text("é😀\x01") == "é😀\x01"
