"""Webhooks: where they lead, what they were told, and telling them again."""

from typing import cast, get_args

from flask import Response, request

from piecework.protocol.messages.queue.webhooks import DeliveryState, WebhookCreate
from piecework.server.api.queue import webhooks as api
from piecework.server.errors import InvalidParameter
from piecework.server.pages.lists import RowsQuery, older
from piecework.server.pages.page import ask, go, page, read_id, read_query, render, value
from piecework.server.pages.texts import address
from piecework.server.services import Services

ACTS = {
    "pause": (api.pause, "nothing is sent to it until it is resumed"),
    "resume": (api.resume, "it is told what waits"),
    "test": (api.test, "a message that means nothing is on its way"),
    "retry": (api.retry_failed, "failed deliveries are sent again"),
}


@page("GET", "/webhooks")
def list_all(_services: Services) -> Response:
    """List webhooks, newest first."""
    found = ask(api.list_all, query=read_query(RowsQuery))
    return render("webhooks.html", webhooks=found.webhooks, next=older(found))


@page("POST", "/webhooks")
def create(_services: Services) -> Response:
    """Register a URL, and show its secret this once."""
    made = ask(api.create, body=WebhookCreate(name=value("name"), url=value("url")))
    return render("webhook_made.html", webhook=made)


@page("GET", "/webhooks/<webhook>")
def show(_services: Services, webhook: str) -> Response:
    """Show one webhook, with what it was told."""
    asked, state = read_query(RowsQuery), request.args.get("state", "")
    if state and state not in get_args(DeliveryState):
        raise InvalidParameter(f"no delivery stands as {state[:40]!r}")
    query = api.DeliveryQuery(
        limit=asked.limit, cursor=asked.cursor, state=cast("DeliveryState", state) if state else None
    )
    found = ask(api.list_deliveries, webhook, query=query)
    values = {
        "deliveries": found.deliveries,
        "next": older(found),
        "state": state,
        "states": get_args(DeliveryState),
    }
    return render("webhook.html", webhook=ask(api.show, webhook), **values)


@page("POST", "/webhooks/<webhook>/act")
def act(_services: Services, webhook: str) -> Response:
    """Pause a webhook, resume it, test it, have failed deliveries sent again, or delete it."""
    what = value("action")
    if what == "delete":
        return go(address("/webhooks"), ask(api.delete, webhook).message)
    if what not in ACTS:
        raise InvalidParameter(f"{what[:40]!r} cannot be done to a webhook")
    view, note = ACTS[what]
    ask(view, webhook)
    return go(address(f"/webhooks/{webhook}"), note)


@page("GET", "/deliveries/<delivery>")
def show_delivery(_services: Services, delivery: str) -> Response:
    """Show one delivery, with what is sent."""
    return render("delivery.html", info=ask(api.show_delivery, read_id(delivery, "delivery")))


@page("POST", "/deliveries/<delivery>/retry")
def retry(_services: Services, delivery: str) -> Response:
    """Have a delivery sent now."""
    id_ = read_id(delivery, "delivery")
    ask(api.retry, id_)
    return go(address(f"/deliveries/{id_}"), "it is sent now")
