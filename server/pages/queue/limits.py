"""What keeps jobs back: limits by key, tenants that take turns, and what is paused as a whole."""

from typing import Any

from flask import Response, request

from piecework.protocol.messages import LimitPut, TenantPut
from piecework.server.api.queue import holds, limits as api, tenants
from piecework.server.errors import InvalidParameter, LimitNotFound
from piecework.server.pages.page import ask, go, next_of, page, render, value
from piecework.server.pages.texts import address
from piecework.server.services import Services

ROWS = 50


@page("GET", "/limits")
def show(_services: Services) -> Response:
    """Show limits, tenants and holds."""
    key, cursor = request.args.get("key", ""), request.args.get("cursor", "")
    try:
        found = (
            ask(api.show, key) if key else ask(api.list_all, query=api.LimitListQuery(limit=ROWS, cursor=cursor))
        )
    except LimitNotFound:
        found = None
    turns = ask(
        tenants.list_all, query=tenants.TenantListQuery(limit=ROWS, cursor=request.args.get("tenants", ""))
    )
    values: dict[str, Any] = {"limits": found.limits if found else [], "key": key, "tenants": turns.tenants}
    values["counted_at"] = turns.counted_at
    values["next"] = address("/limits", cursor=next_of(found)) if found and next_of(found) else None
    values["next_tenants"] = address("/limits", tenants=next_of(turns)) if next_of(turns) else None
    return render("limits.html", holds=ask(holds.list_all).holds, **values)


@page("POST", "/limits")
def rule(_services: Services) -> Response:
    """Set the limits of a key, or take back what was set."""
    key = value("key")
    if not key:
        raise InvalidParameter("say which key is meant")
    if value("action") == "clear":
        return go(address("/limits", key=key), ask(api.clear, key).message)
    body = LimitPut()
    if value("concurrency"):
        body.concurrency = _number("concurrency")
    if value("rate"):
        body.rate, body.period_s = _number("rate"), float(_number("period")) if value("period") else 1.0
    ask(api.rule, key, body=body)
    return go(address("/limits", key=key), f"the limits of {key} are set")


@page("POST", "/tenants")
def weigh(_services: Services) -> Response:
    """Say how many jobs of a tenant go in one of its turns."""
    made = ask(tenants.set_weight, value("tenant"), body=TenantPut(weight=_number("weight")))
    return go(address("/limits"), f"{made.name} has the weight {made.weight}")


def _number(name: str) -> int:
    text = value(name)
    if not text.isdecimal() or len(text) > 12:
        raise InvalidParameter(f"{name} is {text[:40]!r}, and must be a whole number")
    return int(text)
