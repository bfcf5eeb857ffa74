"""How a view becomes an endpoint: access, ids, query and body in, a message out.

A view is a function ``view(services, *parts, query=…, body=…)`` that returns a message, or a Flask response when
it answers with something else; one that may have to wait is a generator, which yields its waits. The parts are
the ids and names in its path. The table of endpoints, in ``piecework.server.api.table``, is also what the OpenAPI
document is made from.
"""

import re
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from flask import Flask, Request, Response, current_app
from werkzeug.routing import BaseConverter

from piecework.protocol.bodies import JSON, MSGPACK, encode
from piecework.protocol.ids import Id
from piecework.protocol.keys import find_key_fault
from piecework.protocol.messages import Message
from piecework.protocol.names import NAME_RULE, is_name
from piecework.protocol.text import find_fault, has_fault
from piecework.server.errors import BodyEncoded, InvalidParameter, InvalidRequest, ServerError
from piecework.server.services import Services
from piecework.server.services.queue.submitting.quotas import find_allowed
from piecework.server.services.tokens.access import Need
from piecework.server.store.records import Scope
from piecework.server.store.stock.audit import Actor
from piecework.server.store.stock.tokens import Token
from piecework.server.web import holding
from piecework.server.web.acts import ACTS
from piecework.server.web.bodies import current_request, read_body
from piecework.server.web.narrowing import check_reach
from piecework.server.web.parts import Part

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

View = Callable[..., Any]
_PART = re.compile(r"<(?:(\w+):)?(\w+)>")
_BODILESS = frozenset({204, 304})
ViewT = TypeVar("ViewT", bound=View)
MessageT = TypeVar("MessageT", bound=Message)


class AnyText(BaseConverter):
    """The rest of a path, whatever is in it: how Flask finds keys, and names from before there was a rule."""

    regex = r"(?s:.+)"
    part_isolating = False


class Query(msgspec.Struct, kw_only=True):
    """What may stand behind the ``?`` of a path. Parameters that a query does not know are ignored."""


@dataclass(frozen=True, eq=False)
class Endpoint:
    """One method and path, and what passes through it."""

    method: str
    path: str
    """With ``<name>`` for each id, ``<string:name>`` for each name of a thing, ``<ref:name>`` for either of them,
    ``<text:name>`` for a key."""
    scope: Need | tuple[Scope, ...]
    """What a token must allow: view, submit, worker, operate, or one of several; or open, for everyone."""
    view: View
    query: type[Query] | None
    body: type[Message] | None
    reply: type[msgspec.Struct] | None
    """None: the answer is not a message."""
    parts: dict[str, Callable[[str, str], Any]]
    """What is in the path, by name and in order, with what reads it: ``read_id``, ``read_name`` and so on."""
    caller: bool
    """The view is told who calls: ``caller``, the name of the request's token; None where none is needed."""
    allowed: bool
    """The view is told what the token's quota allows: ``allowed``; None where it has none."""

    @property
    def summary(self) -> str:
        return (self.view.__doc__ or "").strip().split("\n")[0]


def endpoint(
    method: str,
    path: str,
    *,
    scope: Need | tuple[Scope, ...],
    query: type[Query] | None = None,
    body: type[Message] | None = None,
    reply: type[msgspec.Struct] | None = None,
    caller: bool = False,
    allowed: bool = False,
) -> Callable[[ViewT], ViewT]:
    """Note on a view that it answers a method and path. It does once it stands in the table of endpoints."""

    def add(view: ViewT) -> ViewT:
        readers = {"string": read_name, "text": read_key, "ref": read_ref}
        parts: dict[str, Callable[[str, str], Any]] = {
            name: readers.get(kind, read_id) for kind, name in _PART.findall(path)
        }
        each = Endpoint(method, path, scope, view, query, body, reply, parts, caller, allowed)
        view.endpoints = (each, *endpoints_of(view))  # type: ignore[attr-defined]
        return view

    return add


def endpoints_of(view: View) -> tuple[Endpoint, ...]:
    """Return what a view answers: one method and path, or several."""
    return getattr(view, "endpoints", ())


def current_services() -> Services:
    """Return the services of the app that answers this request."""
    services: Services = current_app.extensions["piecework"]
    return services


def current_endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints of the app that answers this request, with their paths in the whole server."""
    found: tuple[Endpoint, ...] = current_app.extensions["piecework-endpoints"]
    return found


class Translator(Protocol):
    """What stands between the wire and the views, so that these know one vocabulary."""

    def read(self, body: bytes, type_: type[MessageT], media_type: str | None, /) -> MessageT:
        """Return a request as views read it, however its client spells it."""

    def write(self, reply: object, asked: Message | None, /) -> object:
        """Return a reply as the client reads it who ``asked`` so."""


def register_endpoints(app: Flask, table: Iterable[Endpoint], part: Part, translator: Translator) -> None:
    """Give the app the endpoints of a part."""
    app.extensions["piecework-part"] = part
    app.extensions["piecework-holder"] = holding.Holder()
    app.url_map.converters |= {"text": AnyText, "ref": AnyText}
    app.extensions["piecework-endpoints"] = tuple(each for each in table if part.has(each.path))
    for each in app.extensions["piecework-endpoints"]:
        name, answer = f"{each.method} {each.path}".replace(".", "_"), _answer_with(app, each, translator)
        for path in {each.path, part.place(each.path)}:
            app.add_url_rule(path, name, answer, methods=[each.method], provide_automatic_options=False)


def _answer_with(app: Flask, each: Endpoint, translator: Translator) -> Callable[..., Response]:
    def answer(**path: str) -> Response:
        services: Services = app.extensions["piecework"]
        asked = current_request()
        token = services.access.check(each.scope, asked.headers)
        try:
            return answer_token(services, asked, token, path)
        except ServerError as error:
            error.who = token.name if token else None
            raise

    def answer_token(services: Services, asked: Request, token: Token | None, path: dict[str, str]) -> Response:
        _check_coding(asked.environ.get("HTTP_CONTENT_ENCODING", ""))
        _check_texts(asked, path)
        parts = [read(name, path[name]) for name, read in each.parts.items()]
        given = tell_caller(services, each, token, dict(zip(each.parts, parts, strict=True)))
        if each.query is not None:
            given["query"] = _read_query(asked, each.query)
        if each.body is not None:
            body = read_body(asked, services.settings.body_max_bytes)
            given["body"] = translator.read(body, each.body, asked.environ.get("CONTENT_TYPE"))
        finish = partial(_respond, translator, given.get("body"))
        with acting(services, each, token, path, given.get("body")):
            result = each.view(services, *parts, **given)
            return holding.answer(app, asked, result, finish) if isinstance(result, Generator) else finish(result)

    return answer


def tell_caller(
    services: Services, each: Endpoint, token: Token | None, parts: Mapping[str, object]
) -> dict[str, Any]:
    """Return what a view is told of who calls. Raises what ``check_reach`` does."""
    if token and token.quota:
        check_reach(services, each.method, each.path, token, parts)
    told: dict[str, Any] = {"caller": token.name if token else None} if each.caller else {}
    return told | {"allowed": find_allowed(token)} if each.allowed else told


def acting(
    services: Services, each: Endpoint, token: Token | None, parts: Mapping[str, object], body: object
) -> AbstractContextManager[None]:
    """Have what a view stores be in the audit, where that is for it; ``parts`` are those of the path, by name."""
    words = ACTS.get((each.method, each.path))
    if words is None or (token and token.scope == "worker"):
        return nullcontext()
    actor = Actor("token", token.name) if token else Actor("loopback")
    return services.audit.acting(actor, *words.tell(parts, body))


def _respond(translator: Translator, body: Message | None, result: object) -> Response:
    if isinstance(result, Response):
        return result
    return message_response(translator.write(result, body))


def _check_coding(coding: str) -> None:
    """Raise BodyEncoded unless a body is as it is: what is compressed would be stored as if it were the thing."""
    if coding.strip().lower() not in {"", "identity"}:
        raise BodyEncoded(f"the body has the coding {coding[:40]!r}: send it as it is, without Content-Encoding")


def _check_texts(asked: Request, path: dict[str, str]) -> None:
    """Raise InvalidRequest unless path and query keep the rule for texts."""
    if b"%00" in asked.query_string or any(map(has_fault, path.values())):
        raise InvalidRequest(find_fault({**path, **asked.args}) or "the query has the character NUL")


def read_id(name: str, text: str) -> Id:
    """Read an id from a path. Raises InvalidParameter when it is not a number."""
    try:
        return Id.parse(text)
    except ValueError as error:
        raise InvalidParameter(f"the {name} in the path is wrong: {error}") from error


def read_name(name: str, text: str) -> str:
    """Read the name of a thing from a path. Raises InvalidParameter when nothing can be called so."""
    if not is_name(text):
        raise InvalidParameter(f"the {name} in the path is {text[:200]!r}: {NAME_RULE}")
    return text


def read_ref(name: str, text: str) -> str:
    """Read an id or a name from a path: the service that knows the things tells which it is.

    Raises InvalidParameter for a number that is no id.
    """
    return str(read_id(name, text)) if text.isdecimal() else text


def read_key(name: str, text: str) -> str:
    """Read the key of a value from a path. Raises InvalidParameter when no value can have it."""
    if "\ufffd" in text and not _is_utf8(current_request().environ["PATH_INFO"]):
        raise InvalidParameter(f"the {name} in the path is not UTF-8")
    if fault := find_key_fault(text):
        raise InvalidParameter(fault)
    return text


def _is_utf8(path: str) -> bool:
    try:
        path.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_query(asked: Request, type_: type[Query]) -> Query:
    given = {name: value for name, value in asked.args.items() if value} if asked.query_string else {}
    try:
        return msgspec.convert(given, type_, strict=False, dec_hook=_read_special)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"the query is wrong: {error}") from error


def _read_special(type_: type, value: object) -> object:
    if type_ is Id:
        return Id.parse(value)
    raise TypeError(f"no query parameter is a {type_.__name__}")


def wants_msgpack() -> bool:
    """Tell whether the caller asked for MessagePack. Only who names it gets it: ``*/*`` means JSON."""
    return MSGPACK in current_request().environ.get("HTTP_ACCEPT", "").lower()


class WholeResponse(Response):
    """A response that is handed to the web server in one piece, when it is there in one.

    Pieces that come one by one, from an iterator, are also sent one by one: that takes twice the time. It leads
    to no other place.
    """

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer with the bytes and headers as they are, where HTTP wants no others."""
        pieces: Any = self.response
        is_plain = environ["REQUEST_METHOD"] != "HEAD" and self.status_code not in _BODILESS
        if not is_plain or not isinstance(pieces, list) or len(pieces) != 1 or self._on_close:
            return super().__call__(environ, start_response)
        start_response(self.status, self.headers.to_wsgi_list())
        return pieces

    def get_app_iter(self, environ: "WSGIEnvironment") -> Iterable[bytes]:
        """Return the body: as a list when it is all there and nothing must be closed after it."""
        pieces = super().get_app_iter(environ)
        return [b"".join(pieces)] if self.is_sequence and not self._on_close else pieces


def message_response(message: object, status: int = 200) -> Response:
    """Answer with a message, in the encoding that the caller asked for."""
    media_type = MSGPACK if wants_msgpack() else JSON
    return WholeResponse(encode(message, media_type), status=status, content_type=media_type)
