"""The OpenAPI 3.1 document, made from the endpoints and their messages."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, get_type_hints

import msgspec

from piecework import __version__
from piecework.protocol.bodies import BINARY, JSON, MSGPACK
from piecework.protocol.ids import Id
from piecework.protocol.keys import KEY_CHARS
from piecework.protocol.messages import ErrorReply
from piecework.protocol.names import NAME
from piecework.server.web.endpoint import Endpoint, Query, read_id, read_key, read_name, read_ref
from piecework.server.web.fielddocs import field_docs
from piecework.server.web.parts import Part

Document = dict[str, Any]
SCHEMAS = "#/components/schemas/{name}"
ID_SCHEMA = {"type": "string", "pattern": "^[0-9]{1,19}$", "description": "A 64-bit number as decimal digits."}
NAME_SCHEMA = {"type": "string", "pattern": f"^{NAME.pattern}$"}
KEY_SCHEMA = {"type": "string", "minLength": 1, "maxLength": KEY_CHARS}
REF_SCHEMA = {"type": "string", "description": "An id, a name (the newest thing of that name), or `name@id`."}
PART_SCHEMAS: dict[Any, Document] = {
    read_id: ID_SCHEMA,
    read_name: NAME_SCHEMA,
    read_ref: REF_SCHEMA,
    read_key: KEY_SCHEMA,
}
"""What stands in a path, by what reads it."""
RESOURCES = {
    "job": "job",
    "lambda": "lambda",
    "data": "data",
    "worker": "worker",
    "limit": "limit",
    "tenant": "limit",
    "kv": "namespace",
    "registry": "module",
    "deployments": "function",
    "functions": "function",
    "memory": "function",
    "routes": "function",
}
"""Under which heading an endpoint belongs, by how its path begins; all others are about the server."""

BINARY_SCHEMA: Document = {"type": "string", "format": "binary"}
WASM_BODY: Document = {"application/wasm": {"schema": BINARY_SCHEMA}}
TEXT_BODY: Document = {"text/plain": {"schema": {"type": "string"}}}
OTHER_BODIES: dict[tuple[str, str], Document] = {
    ("POST", "/data"): {
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": BINARY_SCHEMA}, "required": ["file"]}
        },
        BINARY: {"schema": BINARY_SCHEMA},
    },
    ("POST", "/registry/upload/<string:org>/<string:module>/<string:tag>"): {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": BINARY_SCHEMA, "info": {"type": "string"}},
                "required": ["file"],
            }
        },
    },
}
"""Bodies that are not messages."""
OTHER_REPLIES: dict[tuple[str, str], Document] = {
    ("GET", "/data/<data>/blob"): {BINARY: {"schema": BINARY_SCHEMA}},
    ("GET", "/registry/<string:org>/<string:module>/<string:tag>/<string:file>"): WASM_BODY,
    ("GET", "/registry/sha256/<string:digest>"): WASM_BODY,
    ("GET", "/registry/info/<string:org>/<string:module>/<string:tag>"): TEXT_BODY,
    ("GET", "/routes/caddy"): {JSON: {"schema": {"type": "object"}}, "text/plain": {"schema": {"type": "string"}}},
    ("GET", "/metrics"): TEXT_BODY,
    ("GET", "/events"): {"text/event-stream": {"schema": {"type": "string"}}},
    ("GET", "/memory/functions/list"): {JSON: {"schema": {"type": "object"}}},
    ("GET", "/memory/functions/<string:function>/<string:revision>/urls"): {
        JSON: {"schema": {"type": "array", "items": {"type": "string"}}}
    },
    ("GET", "/openapi.json"): {JSON: {"schema": {"type": "object"}}},
    ("GET", "/docs"): {"text/html": {"schema": {"type": "string"}}},
}
"""Answers that are not messages, or also come as something else."""


@cache
def openapi_document(endpoints: tuple[Endpoint, ...], part: Part, prefix: str) -> Document:
    """Return the document for the endpoints of a part, which are also served under a prefix."""
    paths: dict[str, Document] = {}
    for each in endpoints:
        paths.setdefault(wire_path(part.place(each.path)), {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Piecework",
            "version": __version__,
            "summary": "A job queue whose jobs are WebAssembly functions, pulled by agents over plain HTTP.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}, {"url": prefix}],
        "paths": paths,
        "components": {
            "schemas": _schemas(endpoints),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def wire_path(path: str) -> str:
    """Write an endpoint's path with what varies in braces."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


def resource_of(each: Endpoint) -> str:
    """Return the heading under which an endpoint belongs."""
    return RESOURCES.get(each.path.split("/")[1], "server")


def scopes_of(each: Endpoint) -> list[str]:
    """Return the scopes of which one is enough; empty when everyone may call the endpoint."""
    scopes = [each.scope] if isinstance(each.scope, str) else list(each.scope)
    return [scope for scope in scopes if scope != "open"]


def _operation(each: Endpoint) -> Document:
    key, scopes = (each.method, each.path), scopes_of(each)
    needed = f"Needs a token that may {' or '.join(scopes)}, if the server has tokens." if scopes else ""
    operation: Document = {
        "operationId": re.sub(r"\W+", "_", f"{each.method.lower()}_{each.path}").strip("_"),
        "summary": each.summary,
        "description": needed,
        "tags": [resource_of(each)],
        "security": [{"token": []}, {}] if scopes else [{}],
        "parameters": [*_path_parameters(each), *_query_parameters(each.query)],
        "responses": {
            "200": {"description": "Done.", "content": _replies(each)},
            "default": {
                "description": "Refused, or failed: status 400 to 429 or 500 to 503, and a code.",
                "content": _messages(ErrorReply),
            },
        },
    }
    body = OTHER_BODIES.get(key) or (_messages(each.body) if each.body else None)
    if body:
        operation["requestBody"] = {"content": body, "required": key in OTHER_BODIES}
    return operation


def _replies(each: Endpoint) -> Document:
    return (_messages(each.reply) if each.reply else {}) | OTHER_REPLIES.get((each.method, each.path), {})


def _messages(type_: type | None) -> Document:
    """Return the content of a message, which goes in two encodings."""
    assert type_ is not None
    schema = {"$ref": SCHEMAS.format(name=type_.__name__)}
    return {JSON: {"schema": schema}, MSGPACK: {"schema": schema}}


def _path_parameters(each: Endpoint) -> list[Document]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": dict(PART_SCHEMAS[read]),
        }
        for name, read in each.parts.items()
    ]


def _query_parameters(query: type[Query] | None) -> list[Document]:
    if query is None:
        return []
    docs, hints = field_docs(query), get_type_hints(query)
    parameters = []
    for field in msgspec.structs.fields(query):
        (schema,), _ = msgspec.json.schema_components([hints[field.name]], schema_hook=_special_schema)
        name = field.encode_name
        text = docs.get(name, "")
        parameters.append({"name": name, "in": "query", "schema": _without_null(schema), "description": text})
    return parameters


def _without_null(schema: Document) -> Document:
    """Return the schema of what can stand in a query, where nothing is null: it is left out instead."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 else schema


def _schemas(endpoints: Iterable[Endpoint]) -> Document:
    """Return the schemas of all messages of endpoints and what they contain, by name."""
    types = {type_ for each in endpoints for type_ in (each.body, each.reply) if type_} | {ErrorReply}
    ordered = sorted(types, key=lambda type_: type_.__name__)
    _, schemas = msgspec.json.schema_components(ordered, schema_hook=_special_schema, ref_template=SCHEMAS)
    for name, type_ in _named_types(ordered).items():
        for field, text in field_docs(type_).items():
            schemas[name]["properties"][field]["description"] = text
    return schemas


def _named_types(types: list[type]) -> dict[str, type]:
    """Return the structs that messages are made of, the messages too, by name."""
    found: dict[str, type] = {}

    def visit(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls.__name__ in found:
                return
            found[info.cls.__name__] = info.cls
        for value in _parts(info):
            visit(value)

    for type_ in types:
        visit(msgspec.inspect.type_info(type_))
    return found


def _parts(info: Any) -> list[Any]:
    """Return the types that a type is made of."""
    if isinstance(info, msgspec.inspect.StructType):
        return [field.type for field in info.fields]
    if isinstance(info, msgspec.inspect.UnionType):
        return list(info.types)
    if isinstance(info, msgspec.inspect.DictType):
        return [info.value_type]
    if isinstance(info, msgspec.inspect.CollectionType):
        return [info.item_type]
    return []


def _special_schema(type_: type) -> Document:
    if type_ is Id:
        return dict(ID_SCHEMA)
    raise NotImplementedError
