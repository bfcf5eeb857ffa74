"""Namespaces, their keys and values: ``/kv``."""

from typing import Final
from urllib.parse import urlencode

from flask import Response, request
from msgspec import UNSET
from werkzeug.exceptions import MethodNotAllowed

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    KeyList,
    MessageReply,
    NamespaceCreate,
    NamespaceCreated,
    NamespaceInfo,
    NamespaceList,
    Reply,
    ValueDelete,
    ValueReply,
    ValueSet,
)
from piecework.server.api.stock.data import ViewQuery
from piecework.server.dialects.paths import was_open
from piecework.server.errors import InvalidParameter
from piecework.server.services import Services
from piecework.server.services.stock.namespaces import Use
from piecework.server.store.stock.namespaces.namespace_records import Entry, Namespace
from piecework.server.web.endpoint import Query, endpoint, message_response
from piecework.server.web.paging import PageQuery, next_cursor

READERS: Final = ("view", "worker")
WRITERS: Final = ("submit", "worker")


class CreateQuery(Query):
    """What the namespace is for."""

    consistency: str = ""
    """``none`` or ``eventual``, as in the body of a POST; a body of GET is not read."""


@endpoint("POST", "/kv", scope=WRITERS, body=NamespaceCreate, reply=NamespaceCreated)
def create(services: Services, body: NamespaceCreate) -> NamespaceCreated:
    """Make a namespace: a set of keys that have values."""
    named = body.consistency if isinstance(body.consistency, str) else None
    return NamespaceCreated(id=Id(services.namespaces.create(named).id))


@endpoint("GET", "/kv", scope=WRITERS, query=CreateQuery, reply=NamespaceCreated)
def create_by_get(services: Services, query: CreateQuery) -> NamespaceCreated:
    """Make a namespace, as some older clients do it."""
    if request.method == "HEAD":  # which Flask takes wherever there is a GET, and which must change nothing
        raise MethodNotAllowed(["GET", "POST"])
    return NamespaceCreated(id=Id(services.namespaces.create(query.consistency).id))


@endpoint("GET", "/kv/namespaces", scope="view", query=PageQuery, reply=NamespaceList)
def list_all(services: Services, query: PageQuery) -> NamespaceList:
    """List namespaces, newest first, with what they hold."""
    page, more = query.read(services.namespaces.list_page, services.settings.page_max)
    return NamespaceList(
        namespaces=[_full_info(*each) for each in page], next=next_cursor([each.id for each, _ in page], more)
    )


@endpoint("GET", "/kv/<namespace>", scope=READERS, query=ViewQuery, reply=NamespaceInfo)
def show(services: Services, id_: Id, query: ViewQuery) -> NamespaceInfo:
    """Tell that a namespace is there; with `view=full` also what it holds."""
    if query.is_full:
        return _full_info(*services.namespaces.measure(id_))
    return NamespaceInfo(id=Id(services.namespaces.get(id_).id))


@endpoint("DELETE", "/kv/<namespace>", scope=WRITERS, reply=MessageReply)
def remove(services: Services, id_: Id) -> MessageReply:
    """Remove a namespace with all that is in it."""
    services.namespaces.remove(id_)
    return MessageReply(message=f"namespace {id_} is removed")


class KeysQuery(Query, kw_only=True):
    """Which keys to list."""

    prefix: str = ""
    """What they begin with."""
    limit: int | None = None
    """Keys at most."""
    cursor: str = ""
    """``next`` of the page before; the first page needs none."""

    @property
    def wants_pages(self) -> bool:
        return self.limit is not None or bool(self.cursor)


@endpoint("GET", "/kv/<namespace>/field", scope=READERS, query=KeysQuery, reply=KeyList)
def list_keys(services: Services, id_: Id, query: KeysQuery) -> Response:
    """List the keys that have a value; a header `Link` tells of more than one answer has."""
    limit = services.settings.keys_max if query.limit is None else query.limit
    if not 1 <= limit <= services.settings.keys_max:
        raise InvalidParameter(f"limit is {limit}, but must lie between 1 and {services.settings.keys_max}")
    found = services.namespaces.list_keys(id_, prefix=query.prefix, after=query.cursor, limit=limit + 1)
    keys, cursor = found[:limit], found[limit - 1] if len(found) > limit else None
    response = message_response(KeyList(keys=keys, next=cursor if cursor and query.wants_pages else UNSET))
    if cursor:
        following = urlencode({"prefix": query.prefix, "limit": limit, "cursor": cursor})
        response.headers["Link"] = f'<?{following}>; rel="next"'
    return response


@endpoint("DELETE", "/kv/<namespace>/field", scope=WRITERS, reply=Reply)
def flush(services: Services, id_: Id) -> Reply:
    """Remove all keys and values of a namespace at once."""
    if was_open(request.environ):
        raise InvalidParameter("no key is empty; to remove all, leave out the slash at the end")
    services.namespaces.flush(id_)
    return Reply()


@endpoint("GET", "/kv/<namespace>/field/<text:key>", scope=READERS, query=ViewQuery, reply=ValueReply)
def get_value(services: Services, id_: Id, key: str, query: ViewQuery) -> ValueReply:
    """Give the value under a key; with `view=full` also its times."""
    found = services.entries.get(id_, key)
    return _value_reply(found.value.decode(), found, query)


@endpoint(
    "POST", "/kv/<namespace>/field/<text:key>", scope=WRITERS, query=ViewQuery, body=ValueSet, reply=ValueReply
)
def set_value(services: Services, id_: Id, key: str, query: ViewQuery, body: ValueSet) -> ValueReply:
    """Set the value under a key, append to it or add to it, and give back what is there now, or was before."""
    return _value_reply(*services.entries.set(id_, key, body), query)


@endpoint("DELETE", "/kv/<namespace>/field/<text:key>", scope=WRITERS, body=ValueDelete, reply=Reply)
def delete_value(services: Services, id_: Id, key: str, body: ValueDelete) -> Reply:
    """Remove a key and its value."""
    services.entries.delete(id_, key, body.if_value if isinstance(body.if_value, str) else None)
    return Reply()


def _value_reply(value: str, entry: Entry, query: ViewQuery) -> ValueReply:
    reply = ValueReply(value=value)
    if query.is_full:
        reply.changed_at = entry.changed_at / 1000
        reply.expires_at = UNSET if entry.expires_at is None else entry.expires_at / 1000
    return reply


def _full_info(namespace: Namespace, use: Use) -> NamespaceInfo:
    return NamespaceInfo(
        id=Id(namespace.id),
        consistency=namespace.consistency,
        entries=use.entries,
        size=use.size,
        created_at=namespace.created_at / 1000,
    )
