"""Messages: their fields, and the golden samples of them."""

import json
from pathlib import Path
from typing import Any

import msgspec

import piecework.protocol.messages
from piecework.server.web.fielddocs import field_docs
from tables.markdown import as_code, write_table

WIRE = Path(__file__).parent.parent.parent / "samples" / "wire"


def write_message(*names: str) -> str:
    """Every field of some messages."""
    return "\n\n".join(map(_write_message, names))


def _write_message(name: str) -> str:
    type_ = getattr(piecework.protocol.messages, name)
    docs = field_docs(type_)
    rows = [
        (as_code(each.encode_name) + ("" if each.required else " ?"), _type_name(each.type), _meaning(each, docs))
        for each in msgspec.inspect.type_info(type_).fields  # type: ignore[attr-defined]
        if each.encode_name not in {"code", "status"} or not issubclass(type_, piecework.protocol.messages.Reply)
    ]
    return f"**{name}**\n\n" + write_table(["field", "type", "meaning"], rows)


def _meaning(field: msgspec.inspect.Field, docs: dict[str, str]) -> str:
    doc = docs.get(field.encode_name, "")
    plain = isinstance(field.default, bool | int | float | str) and field.default not in {"", False}
    return f"{doc} Default: {as_code(field.default)}.".strip() if plain else doc


WORDS: dict[type, str] = {
    msgspec.inspect.StrType: "text",
    msgspec.inspect.IntType: "integer",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.BoolType: "true or false",
    msgspec.inspect.BytesType: "bytes",
    msgspec.inspect.DateTimeType: "time",
    msgspec.inspect.AnyType: "any",
    msgspec.inspect.CustomType: "id",
}
"""Types in words that any language has."""


def _type_name(info: Any) -> str:
    match info:
        case msgspec.inspect.UnionType(types=types):
            names = [_type_name(each) for each in types if not isinstance(each, msgspec.inspect.NoneType)]
            name = "id or Content" if "Content" in names else " or ".join(names)
        case msgspec.inspect.StructType() | msgspec.inspect.EnumType():
            name = info.cls.__name__
        case msgspec.inspect.ListType():
            name = f"list of {_type_name(info.item_type)}"
        case msgspec.inspect.DictType():
            name = f"object of {_type_name(info.value_type)}"
        case msgspec.inspect.LiteralType():
            name = ", ".join(map(as_code, info.values))
        case msgspec.inspect.IntType(ge=int(), le=int()):
            name = f"integer, {info.ge} to {info.le}"
        case _:
            name = WORDS[type(info)]
    return name


REQUESTS = (
    "_submit",
    "_create",
    "_request",
    "_register",
    "_update",
    "_put",
    "_scale",
    "_report",
    "_set",
    "_delete",
    "_run",
)
"""How the names of golden messages end that clients send; the others are answers."""
WIDTH = 100
"""JSON that fits into so many columns stays on one line."""


def write_wire(name: str) -> str:
    """One of the golden messages; of a request only what is not the default."""
    message = json.loads((WIRE / f"{name}.json").read_text())
    is_request = name.partition(".")[0].endswith(REQUESTS)
    shown = _without_defaults(message) if is_request else message
    return f"{'Request' if is_request else 'Answer'}:\n\n```json\n{write_json(shown)}\n```"


def write_json(value: Any, indent: int = 0) -> str:
    """Return JSON for people: what fits into a line stays in one."""
    line = json.dumps(value, ensure_ascii=False)
    if indent + len(line) <= WIDTH or not isinstance(value, dict | list):
        return line
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {write_json(item, indent + 2 + len(key))}" for key, item in value.items()]
    else:
        items = [write_json(item, indent + 2) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    inside = ",\n".join(items).replace("\n", "\n  ")
    return f"{opening}\n  {inside}\n{closing}"


def _without_defaults(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_defaults(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_defaults(item) for key, item in value.items() if item is not None}
    defaults = ({}, [], "", {"deterministic": False}, {"mode": "text"}, {"priority": 0}, {"inline_max_bytes": 0})
    return {key: item for key, item in kept.items() if item not in defaults and {key: item} not in defaults}
