"""Webhooks, and what they are told: ``/webhook`` and ``/delivery``."""

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    DeliveryBrief,
    DeliveryInfo,
    DeliveryList,
    DeliveryRetried,
    DeliveryState,
    Maybe,
    MessageReply,
    WebhookCreate,
    WebhookInfo,
    WebhookList,
    WebhookUpdate,
)
from piecework.server.services import Services
from piecework.server.store.queue.webhooks.webhook_records import Delivery, Webhook
from piecework.server.web.endpoint import Query, endpoint
from piecework.server.web.paging import PageQuery, next_cursor


class RotateQuery(Query):
    """What becomes of the secret before."""

    at_once: bool = False
    """It does not count any more. Else it signs as well for 24 hours."""


class DeliveryQuery(PageQuery, kw_only=True):
    """Which deliveries, and which page of them."""

    state: DeliveryState | None = None
    """Only those that stand so."""


@endpoint("POST", "/webhook", scope="operate", body=WebhookCreate, reply=WebhookInfo, caller=True)
def create(services: Services, body: WebhookCreate, caller: str | None) -> WebhookInfo:
    """Register a URL that jobs and groups can name in `on_end`. The answer alone has its secret."""
    return _reveal(services.webhooks.create(body.name, body.url, caller))


@endpoint("GET", "/webhook", scope="operate", query=PageQuery, reply=WebhookList)
def list_all(services: Services, query: PageQuery) -> WebhookList:
    """List webhooks, newest first."""
    page, more = query.read(services.webhooks.list_page, services.settings.page_max)
    return WebhookList(webhooks=list(map(_info, page)), next=next_cursor([each.id for each in page], more))


@endpoint("GET", "/webhook/<ref:webhook>", scope="operate", reply=WebhookInfo)
def show(services: Services, ref: str) -> WebhookInfo:
    """Read one webhook, with how many of its deliveries wait or failed."""
    view = services.webhooks.show(ref)
    info = _info(view.webhook)
    info.waiting, info.failed = view.counts
    return info


@endpoint("PATCH", "/webhook/<ref:webhook>", scope="operate", body=WebhookUpdate, reply=WebhookInfo)
def change(services: Services, ref: str, body: WebhookUpdate) -> WebhookInfo:
    """Have a webhook lead to another URL."""
    return _info(services.webhooks.move(ref, body.url))


@endpoint("DELETE", "/webhook/<ref:webhook>", scope="operate", reply=MessageReply)
def delete(services: Services, ref: str) -> MessageReply:
    """Delete a webhook, with all that it was, or is to be, told."""
    return MessageReply(message=f"webhook {services.webhooks.delete(ref).name} is deleted")


@endpoint("POST", "/webhook/<ref:webhook>/rotate", scope="operate", query=RotateQuery, reply=WebhookInfo)
def rotate(services: Services, ref: str, query: RotateQuery) -> WebhookInfo:
    """Give a webhook a new secret. The answer alone has it."""
    return _reveal(services.webhooks.rotate(ref, at_once=query.at_once))


@endpoint("POST", "/webhook/<ref:webhook>/pause", scope="operate", reply=WebhookInfo)
def pause(services: Services, ref: str) -> WebhookInfo:
    """Have nothing sent to a webhook until it is resumed. What it is to be told waits."""
    return _info(services.webhooks.pause(ref))


@endpoint("POST", "/webhook/<ref:webhook>/resume", scope="operate", reply=WebhookInfo)
def resume(services: Services, ref: str) -> WebhookInfo:
    """Have a webhook told what waits, and all that comes."""
    found = services.webhooks.resume(ref)
    services.sender.try_anew(found.id)
    return _info(found)


@endpoint("POST", "/webhook/<ref:webhook>/test", scope="operate", reply=DeliveryInfo)
def test(services: Services, ref: str) -> DeliveryInfo:
    """Send a webhook something that means nothing, once. `GET /delivery/{id}` tells what came of it."""
    found = services.deliveries.test(services.webhooks.get(ref))
    services.sender.try_anew(found.webhook_id)
    return _delivery_info(found)


@endpoint("GET", "/webhook/<ref:webhook>/deliveries", scope="operate", query=DeliveryQuery, reply=DeliveryList)
def list_deliveries(services: Services, ref: str, query: DeliveryQuery) -> DeliveryList:
    """List what a webhook was, or is to be, told, newest first."""
    webhook = services.webhooks.get(ref)
    page, more = query.read(
        lambda **at: services.deliveries.list_page(webhook, query.state, **at), services.settings.page_max
    )
    return DeliveryList(deliveries=list(map(_brief, page)), next=next_cursor([each.id for each in page], more))


@endpoint("POST", "/webhook/<ref:webhook>/retry", scope="operate", reply=DeliveryRetried)
def retry_failed(services: Services, ref: str) -> DeliveryRetried:
    """Have the failed deliveries of a webhook sent again, the oldest first."""
    webhook = services.webhooks.get(ref)
    retried, has_more = services.deliveries.retry_failed(webhook)
    services.sender.try_anew(webhook.id)
    return DeliveryRetried(retried=retried, has_more=has_more)


@endpoint("GET", "/delivery/<delivery>", scope="operate", reply=DeliveryInfo)
def show_delivery(services: Services, id_: Id) -> DeliveryInfo:
    """Read one delivery, with what is sent."""
    return _delivery_info(services.deliveries.get(id_))


@endpoint("POST", "/delivery/<delivery>/retry", scope="operate", reply=DeliveryInfo)
def retry(services: Services, id_: Id) -> DeliveryInfo:
    """Have a delivery sent now, whatever became of it."""
    found = services.deliveries.retry(id_)
    services.sender.try_anew(found.webhook_id)
    return _delivery_info(found)


def _reveal(webhook: Webhook) -> WebhookInfo:
    info = _info(webhook)
    info.secret = webhook.secret
    return info


def _info(webhook: Webhook) -> WebhookInfo:
    return WebhookInfo(
        id=Id(webhook.id),
        name=webhook.name,
        url=webhook.url,
        created_by=webhook.created_by or UNSET,
        created_at=webhook.created_at / 1000,
        paused_at=_seconds(webhook.paused_at),
        trouble=webhook.trouble or UNSET,
        old_secret_until=_seconds(webhook.old_until),
    )


def _delivery_info(found: Delivery) -> DeliveryInfo:
    return DeliveryInfo(delivery=_brief(found), webhook=Id(found.webhook_id), body=found.body)


def _brief(found: Delivery) -> DeliveryBrief:
    return DeliveryBrief(
        id=Id(found.id),
        type=found.type,
        subject=UNSET if found.subject_id is None else Id(found.subject_id),
        state=found.state,
        attempts=found.attempts,
        created_at=found.created_at / 1000,
        next_at=_seconds(found.next_at) if found.state == "waiting" else UNSET,
        tried_at=_seconds(found.tried_at),
        took_s=_seconds(found.took_ms),
        status=UNSET if found.status is None else found.status,
        detail=found.detail,
    )


def _seconds(milliseconds: int | None) -> Maybe[float]:
    return UNSET if milliseconds is None else milliseconds / 1000
