"""What is kept beside jobs: modules, namespaces with their keys, tokens."""

from flask import Response, request

from piecework.protocol.messages import KeyList
from piecework.server.api.stock import modules, namespaces
from piecework.server.api.stock.data import ViewQuery
from piecework.server.errors import Forbidden, InvalidParameter
from piecework.server.pages.gate import viewer
from piecework.server.pages.lists import RowsQuery, older
from piecework.server.pages.page import ask, go, page, read_id, read_query, render, value
from piecework.server.pages.texts import address
from piecework.server.services import Services
from piecework.server.services.tokens.token_acts import list_tokens, show_quota

KEYS = 100
VALUE_CHARS = 20_000


@page("GET", "/modules")
def list_modules(_services: Services) -> Response:
    """List the modules of the registry, newest first."""
    asked = read_query(RowsQuery)
    found = ask(modules.list_all, query=modules.ListQuery(limit=asked.limit, cursor=asked.cursor))
    return render("modules.html", modules=found.modules, next=older(found))


@page("POST", "/modules/<org>/<module>/<tag>/delete")
def delete_module(_services: Services, org: str, module: str, tag: str) -> Response:
    """Remove a module of which no revision of a function was made."""
    return go(address("/modules"), ask(modules.delete, org, module, tag).message)


@page("GET", "/namespaces")
def list_namespaces(_services: Services) -> Response:
    """List namespaces, newest first, with what they hold."""
    found = ask(namespaces.list_all, query=read_query(RowsQuery))
    return render("namespaces.html", namespaces=found.namespaces, next=older(found))


@page("POST", "/namespaces")
def create_namespace(_services: Services) -> Response:
    """Make a namespace."""
    return go(address(f"/namespaces/{ask(namespaces.create).id}"), "the namespace is there")


@page("GET", "/namespaces/<namespace>")
def show_namespace(services: Services, namespace: str) -> Response:
    """Show one namespace: its keys, and the value of one."""
    id_ = read_id(namespace, "namespace")
    info = ask(namespaces.show, id_, query=ViewQuery(view="full"))
    prefix, after, key = (request.args.get(name, "") for name in ("prefix", "cursor", "key"))
    found = services.namespaces.list_keys(id_, prefix=prefix, after=after, limit=KEYS + 1)
    keys = KeyList(keys=found[:KEYS])
    entry = ask(namespaces.get_value, id_, key, query=ViewQuery(view="full")) if key else None
    more = address(f"/namespaces/{id_}", prefix=prefix, cursor=keys.keys[-1]) if len(found) > KEYS else None
    return render(
        "namespace.html",
        info=info,
        keys=keys.keys,
        next=more,
        prefix=prefix,
        key=key,
        entry=entry,
        most=VALUE_CHARS,
    )


@page("POST", "/namespaces/<namespace>/act")
def act_on_namespace(_services: Services, namespace: str) -> Response:
    """Remove a key, all keys, or the namespace."""
    id_ = read_id(namespace, "namespace")
    match value("action"):
        case "delete":
            ask(namespaces.delete_value, id_, request.form.get("key", ""))
            return go(address(f"/namespaces/{id_}"), "the key is removed")
        case "flush":
            ask(namespaces.flush, id_)
            return go(address(f"/namespaces/{id_}"), "all keys are removed")
        case "remove":
            return go(address("/namespaces"), ask(namespaces.remove, id_).message)
    raise InvalidParameter("this cannot be done to a namespace")


@page("GET", "/tokens")
def list_all_tokens(services: Services) -> Response:
    """List tokens without their secrets, for those who operate the server."""
    who = viewer()
    if who is None or (who.name is not None and not who.may("operate")):
        raise Forbidden("the list of tokens is for those who may operate")
    return render("tokens.html", tokens=list_tokens(services.database), show_quota=show_quota)
