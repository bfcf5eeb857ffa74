"""Reading and writing message bodies: JSON and MessagePack, the same typed messages in both."""

import json
import threading
from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from piecework.protocol import text
from piecework.protocol.ids import ID_MAX, Id
from piecework.protocol.messages.base import Message

JSON = "application/json"
MSGPACK = "application/msgpack"
BINARY = "application/octet-stream"

T = TypeVar("T")
ID_DIGITS = len(str(ID_MAX))
"""A shorter number is not too large."""
_Decoder = msgspec.json.Decoder[T] | msgspec.msgpack.Decoder[T]


class BodyDecodeError(ValueError):
    """The body is not JSON or MessagePack at all."""


class MessageError(ValueError):
    """The body was read, but a field is missing or has a wrong type or value."""


def _encode_special(value: object) -> object:
    if isinstance(value, Id):
        return int.__repr__(value)
    raise TypeError(f"cannot send a {type(value).__name__}")


def _decode_special(type_: type, value: object) -> object:
    if type_ is Id:
        # Most ids come like this; whatever else comes is looked at in Id.parse.
        if type(value) is str and len(value) < ID_DIGITS and value.isascii() and value.isdecimal():
            return Id(value)
        return Id.parse(value)
    raise TypeError(f"cannot read a {type_.__name__}")


_json_encoder = msgspec.json.Encoder(enc_hook=_encode_special)
_msgpack_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_special)


_building = threading.Lock()
"""Held while a decoder is made: msgspec learns what a class has at its first use, and a thread that uses it before
that is done crashes the process."""


@cache
def _json_decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    with _building:
        return msgspec.json.Decoder(type_, strict=False, dec_hook=_decode_special)


@cache
def _msgpack_decoder(type_: Any) -> msgspec.msgpack.Decoder[Any]:
    with _building:
        return msgspec.msgpack.Decoder(type_, strict=False, dec_hook=_decode_special)


def prepare_structs(of: type[msgspec.Struct] = msgspec.Struct) -> None:
    """Have msgspec learn what all classes have that are there by now, before threads use them in any way."""
    for found in of.__subclasses__():
        with _building:
            msgspec.json.Decoder(found)
        prepare_structs(found)


def encode(message: object, media_type: str = JSON) -> bytes:
    """Write a message as JSON, or as MessagePack when ``media_type`` is that.

    Raises MessageError for a text that cannot be sent: one with bytes that are not UTF-8, as Python has them in
    arguments of programs and names of files; and for a whole number that needs more than 64 bits.
    """
    try:
        return (_msgpack_encoder if media_type == MSGPACK else _json_encoder).encode(message)
    except UnicodeEncodeError as error:
        raise MessageError(text.find_fault(message) or str(error)) from error
    except OverflowError as error:
        raise MessageError("a whole number needs more than 64 bits") from error


def decode(body: bytes, type_: type[T], media_type: str | None = JSON) -> T:
    """Read a message from a body.

    Every body that is not announced as MessagePack is read as JSON, whatever its type says (old clients
    send none, or a wrong one); an empty body is the empty object. Numbers and booleans may come as strings.
    Texts of requests must keep the rule of ``piecework.protocol.text``.

    Raises BodyDecodeError when the bytes are neither, MessageError when a field does not fit.
    """
    packed = media_type is not None and media_type.partition(";")[0].strip().lower() == MSGPACK
    if not body:
        body, packed = b"{}", False
    try:
        decoder: _Decoder[T] = (_msgpack_decoder if packed else _json_decoder)(cast("Hashable", type_))
        message = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise MessageError(text.explain(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if fault := _find_broken_text(body, packed=packed):
            raise MessageError(fault) from error
        kind = "MessagePack" if packed else "JSON"
        raise BodyDecodeError(f"the body is not {kind}: {error}") from error
    is_suspect = isinstance(message, Message) and _may_have_nul(message, body, packed=packed)
    if is_suspect and (fault := text.find_fault(message)):
        raise MessageError(fault)
    return message


def _may_have_nul(message: Message, body: bytes, *, packed: bool) -> bool:
    """Tell quickly whether a text may have the character NUL: most messages need not be looked through."""
    if not packed:
        return b"\\u0000" in body
    if b"\0" not in body:
        return False
    try:  # nearly every MessagePack has this byte in a number; JSON has this spelling in texts alone
        return b"\\u0000" in _json_encoder.encode(message)
    except (TypeError, ValueError, RecursionError):  # it has what JSON has not
        return True


def _find_broken_text(body: bytes, *, packed: bool) -> str | None:
    """Say which text of a body that could not be read is to blame; None when it is something else."""
    try:
        if not packed:
            return text.find_fault(json.loads(body)) if b"\\u" in body else None
        for name, field in msgspec.msgpack.decode(body, type=dict[str, msgspec.Raw]).items():
            try:
                msgspec.msgpack.decode(field)
            except UnicodeDecodeError:
                return f"{name} has a text that is not UTF-8"
    except (ValueError, RecursionError):
        pass  # it is no JSON or MessagePack either way
    return None
