"""The client's calls about webhooks, and about what they are told."""

from collections.abc import AsyncIterator

from piecework.client.calls import AnyId, CallGroup, path_id, path_name
from piecework.client.modes import call, iteration
from piecework.client.transport import PreparedRequest, Query
from piecework.protocol.messages import (
    DeliveryBrief,
    DeliveryInfo,
    DeliveryList,
    DeliveryRetried,
    DeliveryState,
    WebhookCreate,
    WebhookInfo,
    WebhookList,
    WebhookUpdate,
)

AnyWebhook = int | str
"""A webhook as callers may write it: its id, or its name."""


class WebhookCalls(CallGroup):
    """Webhooks: URLs that are told of the ends of jobs and groups. One that is not there gets NotFound (951)."""

    @call
    async def create_webhook(self, name: str, url: str) -> WebhookInfo:
        """Register a URL that jobs and groups can name in ``on_end``. The answer alone has its ``secret``.

        Raises Conflict while another has the name, and Invalid for a URL that nothing may be sent to.
        """
        body = WebhookCreate(name=name, url=url)
        return await self.carrier.call(PreparedRequest("POST", "/webhook", body=body), WebhookInfo)

    @iteration
    def webhooks(self, limit: int | None = None) -> AsyncIterator[WebhookInfo]:
        """Go through the webhooks, newest first; at most ``limit`` of them."""
        return self._items("/webhook", {}, WebhookList, "webhooks", limit)

    @call
    async def webhook(self, webhook: AnyWebhook) -> WebhookInfo:
        """Return a webhook, with how many of its deliveries wait or failed."""
        return await self.carrier.call(PreparedRequest("GET", _path(webhook), repeatable=True), WebhookInfo)

    @call
    async def move_webhook(self, webhook: AnyWebhook, url: str) -> WebhookInfo:
        """Have a webhook lead to another URL. Safe to repeat."""
        request = PreparedRequest("PATCH", _path(webhook), body=WebhookUpdate(url=url), repeatable=True)
        return await self.carrier.call(request, WebhookInfo)

    @call
    async def rotate_webhook(self, webhook: AnyWebhook, *, at_once: bool = False) -> WebhookInfo:
        """Give a webhook a new secret, which the answer alone has.

        The one before signs as well for 24 hours, unless the new one is to count ``at_once``.
        """
        query: Query = {"at_once": "true"} if at_once else {}
        return await self.carrier.call(PreparedRequest("POST", f"{_path(webhook)}/rotate", query), WebhookInfo)

    @call
    async def pause_webhook(self, webhook: AnyWebhook) -> WebhookInfo:
        """Have nothing sent to a webhook; what it is to be told waits. Safe to repeat."""
        request = PreparedRequest("POST", f"{_path(webhook)}/pause", repeatable=True)
        return await self.carrier.call(request, WebhookInfo)

    @call
    async def resume_webhook(self, webhook: AnyWebhook) -> WebhookInfo:
        """Have a webhook told what waits, and all that comes. Safe to repeat."""
        request = PreparedRequest("POST", f"{_path(webhook)}/resume", repeatable=True)
        return await self.carrier.call(request, WebhookInfo)

    @call
    async def delete_webhook(self, webhook: AnyWebhook) -> str:
        """Delete a webhook with all that it was, or is to be, told. Returns what the server says.

        Raises Conflict while a schedule, or a group that is not done, names it.
        """
        return await self._steer(PreparedRequest("DELETE", _path(webhook), repeatable=True))

    @call
    async def test_webhook(self, webhook: AnyWebhook) -> DeliveryInfo:
        """Have a webhook sent something that means nothing, once; ``delivery`` tells what came of it."""
        return await self.carrier.call(PreparedRequest("POST", f"{_path(webhook)}/test"), DeliveryInfo)

    @iteration
    def deliveries(
        self, webhook: AnyWebhook, *, state: DeliveryState | None = None, limit: int | None = None
    ) -> AsyncIterator[DeliveryBrief]:
        """Go through what a webhook was, or is to be, told, newest first; at most ``limit`` of it."""
        return self._items(f"{_path(webhook)}/deliveries", {"state": state}, DeliveryList, "deliveries", limit)

    @call
    async def delivery(self, delivery: AnyId) -> DeliveryInfo:
        """Return a delivery, with what is sent. Raises NotFound (954)."""
        request = PreparedRequest("GET", f"/delivery/{path_id(delivery)}", repeatable=True)
        return await self.carrier.call(request, DeliveryInfo)

    @call
    async def retry_delivery(self, delivery: AnyId) -> DeliveryInfo:
        """Have a delivery sent now, whatever became of it."""
        return await self.carrier.call(
            PreparedRequest("POST", f"/delivery/{path_id(delivery)}/retry"), DeliveryInfo
        )

    @call
    async def retry_deliveries(self, webhook: AnyWebhook) -> int:
        """Have all deliveries of a webhook sent again that failed. Returns how many."""
        request, retried, has_more = PreparedRequest("POST", f"{_path(webhook)}/retry", repeatable=True), 0, True
        while has_more:
            reply = await self.carrier.call(request, DeliveryRetried)
            retried, has_more = retried + reply.retried, reply.has_more
        return retried


def _path(webhook: AnyWebhook) -> str:
    is_name = isinstance(webhook, str) and not webhook.isdecimal()
    return f"/webhook/{path_name(str(webhook)) if is_name else path_id(webhook)}"
