"""Messages with one chosen text in one place: for tests of rules that every text of every message must keep."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from piecework.protocol.messages import Message

PLAIN: dict[type, Any] = {
    inspect.IntType: 1,
    inspect.FloatType: 1.0,
    inspect.BoolType: True,
    inspect.BytesType: b"",
    inspect.DateTimeType: "2026-01-01T00:00:00Z",
    inspect.CustomType: "1",  # an id
    inspect.AnyType: 1,
    inspect.NoneType: None,
    inspect.ListType: [],
    inspect.VarTupleType: [],
    inspect.DictType: {},
}


class Leaf(NamedTuple):
    """A message, as an object of JSON, and where in it the text is."""

    place: tuple[str, ...]
    """Names of fields, from outside in."""
    message: Any


def message_types() -> list[type[Message]]:
    """Return every type of message that somebody sends."""
    found: list[type[Message]] = []
    waiting = list(Message.__subclasses__())
    while waiting:
        each = waiting.pop()
        if each.__module__.startswith("piecework.protocol."):
            found.append(each)
        waiting += each.__subclasses__()
    return sorted(found, key=lambda each: each.__name__)


def plant(type_: type, text: str) -> Iterator[Leaf]:
    """Yield messages of a type, each with the text in another of the places where one can be."""
    yield from _plant(inspect.type_info(type_), text, (), frozenset())


def _plant(info: Any, text: str, place: tuple[str, ...], above: frozenset[type]) -> Iterator[Leaf]:
    match info:
        case inspect.StrType() | inspect.AnyType():
            yield Leaf(place, text)
        case inspect.ListType() | inspect.VarTupleType():
            for leaf in _plant(info.item_type, text, place, above):
                yield Leaf(leaf.place, [leaf.message])
        case inspect.DictType():
            for leaf in _plant(info.key_type, text, place, above):
                yield Leaf(leaf.place, {leaf.message: _plain(info.value_type)})
            for leaf in _plant(info.value_type, text, place, above):
                yield Leaf(leaf.place, {"k": leaf.message})
        case inspect.UnionType():
            for each in info.types:
                yield from _plant(each, text, place, above)
        case inspect.StructType() if info.cls not in above:
            yield from _plant_struct(info, text, place, above | {info.cls})


def _plant_struct(info: Any, text: str, place: tuple[str, ...], above: frozenset[type]) -> Iterator[Leaf]:
    for field in info.fields:
        for leaf in _plant(field.type, text, (*place, field.encode_name), above):
            rest = {each.encode_name: _plain(each.type) for each in info.fields if each.required and each != field}
            yield Leaf(leaf.place, rest | {field.encode_name: leaf.message})


def _plain(info: Any) -> Any:
    """Return some value that fits."""
    value = PLAIN.get(type(info))
    match info:
        case inspect.StrType():
            length = re.search(r"\{(\d+)\}", info.pattern or "")
            value = "0" * int(length[1]) if length else "x"
        case inspect.ListType():
            value = [_plain(info.item_type)] * (info.min_length or 0)
        case inspect.BytesType():
            value = bytes(info.min_length or 0)
        case inspect.EnumType():
            value = next(iter(info.cls)).value
        case inspect.LiteralType():
            value = info.values[0]
        case inspect.UnionType():
            value = _plain(info.types[0])
        case inspect.StructType():
            value = {each.encode_name: _plain(each.type) for each in info.fields if each.required}
    return value


def write(leaf: Leaf) -> bytes:
    """Write a message as JSON, also with texts that no UTF-8 has."""
    return json.dumps(leaf.message, default=lambda data: b64encode(data).decode()).encode()


def pack(leaf: Leaf) -> bytes:
    """Write a message as MessagePack."""
    return msgspec.msgpack.encode(leaf.message)
