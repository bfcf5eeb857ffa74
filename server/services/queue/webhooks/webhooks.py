"""Webhooks as operators handle them: create, look, change, pause, give a new secret, delete."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from piecework.protocol.ids import Id
from piecework.protocol.names import NAME_RULE, is_name
from piecework.server.errors import InvalidRequest, WebhookExists, WebhookInUse, WebhookNotFound
from piecework.server.services.core import Core
from piecework.server.services.queue.webhooks.posting import Poster
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.webhooks import deliveries, webhooks
from piecework.server.store.queue.webhooks.webhook_records import DeliveryCounts, Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105  # it says what the text is, and is none itself
SECRET_BYTES = 32
WEBHOOKS_MAX = 1000
"""The sender asks for each whether there is something to be sent."""
ROTATION_MS = 24 * 3600 * 1000
"""How long the secret before the present one signs as well, unless it is to end at once."""
COUNTED = 10_000
"""Deliveries are counted up to here."""
NAME_SHOWN = 100


class WebhookView(NamedTuple):
    """A webhook, and how its deliveries stand."""

    webhook: Webhook
    counts: DeliveryCounts


class Webhooks:
    """The webhooks of this server. Every change is durable once it is answered."""

    def __init__(self, core: Core, poster: Poster) -> None:
        self._database, self._ids, self._clock = core.database, core.ids, core.clock
        self._poster = poster

    def create(self, name: str, url: str, created_by: str | None) -> Webhook:
        """Store a webhook with a secret of its own. Raises WebhookExists or InvalidRequest."""
        if not is_name(name) or name.isdecimal():
            raise InvalidRequest(f"the name is {name[:NAME_SHOWN]!r}: {NAME_RULE}, and is no number")
        self._poster.check(url)
        new = Webhook(
            self._ids.next(), name, url, _make_secret(), None, None, created_by, self._clock(), None, None
        )

        def store(connection: Connection) -> None:
            if webhooks.count_webhooks(connection) >= WEBHOOKS_MAX:
                raise InvalidRequest(f"there are {WEBHOOKS_MAX} webhooks already, which is the most: delete one")
            if not webhooks.add_webhook(connection, new):
                raise WebhookExists(f"there is a webhook named {new.name!r} already")

        self._database.write(store)
        return new

    def get(self, ref: str) -> Webhook:
        """Return the webhook of an id or a name. Raises WebhookNotFound."""
        with self._database.read() as connection:
            return _require(connection, ref)

    def check_name(self, name: str) -> str:
        """Return the name of a webhook that jobs are to name. Raises WebhookNotFound."""
        with self._database.read() as connection:
            if name not in webhooks.find_by_names(connection, [name]):
                raise _not_found(name)
        return name

    def show(self, ref: str) -> WebhookView:
        """Return a webhook, with how its deliveries stand. Raises WebhookNotFound."""
        with self._database.read() as connection:
            found = _require(connection, ref)
            return WebhookView(found, deliveries.count_deliveries(connection, found.id, COUNTED))

    def list_page(self, *, before: int, limit: int) -> list[Webhook]:
        """Return webhooks that are older than ``before``, newest first."""
        with self._database.read() as connection:
            return webhooks.list_webhooks(connection, before=before, limit=limit)

    def move(self, ref: str, url: str) -> Webhook:
        """Have a webhook lead elsewhere from now on. Raises WebhookNotFound or InvalidRequest."""
        self._poster.check(url)
        return self._change(ref, lambda was: replace(was, url=url))

    def rotate(self, ref: str, *, at_once: bool) -> Webhook:
        """Give a webhook a new secret; unless ``at_once``, the one before signs as well for a day."""
        secret, until = _make_secret(), self._clock() + ROTATION_MS

        def change(was: Webhook) -> Webhook:
            if at_once:
                return replace(was, secret=secret, old_secret=None, old_until=None)
            return replace(was, secret=secret, old_secret=was.secret, old_until=until)

        return self._change(ref, change)

    def pause(self, ref: str) -> Webhook:
        """Have nothing sent until the webhook is resumed: what it is to be told waits. Safe to repeat."""
        now = self._clock()
        return self._change(ref, lambda was: was if was.paused_at is not None else replace(was, paused_at=now))

    def resume(self, ref: str) -> Webhook:
        """Have a webhook told what waits, and all that comes. Safe to repeat."""
        return self._change(ref, lambda was: replace(was, paused_at=None, trouble=None))

    def delete(self, ref: str) -> Webhook:
        """Delete a webhook with all that it was, or is to be, told. Raises WebhookNotFound or WebhookInUse."""

        def delete(connection: Connection) -> Webhook:
            found = _require(connection, ref)
            if user := webhooks.find_user(connection, found.name):
                raise WebhookInUse(f"{user} names the webhook {found.name}: it must name another, or none")
            webhooks.delete_webhook(connection, found.id)
            return found

        return self._database.write(delete)

    def _change(self, ref: str, change: Callable[[Webhook], Webhook]) -> Webhook:
        def store(connection: Connection) -> Webhook:
            was = webhooks.lock_webhook(connection, _require(connection, ref).id)
            if was is None:
                raise _not_found(ref)
            new = change(was)
            webhooks.change_webhook(connection, new)
            return new

        return self._database.write(store)


def _make_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _require(connection: Connection, ref: str) -> Webhook:
    """Return the webhook of an id or a name. Raises WebhookNotFound or InvalidRequest."""
    if ref.isdecimal():
        try:
            found = webhooks.find_webhook(connection, Id.parse(ref))
        except ValueError as error:
            raise InvalidRequest(f"the webhook is wrong: {error}") from error
    else:
        found = webhooks.find_by_names(connection, [ref]).get(ref)
    if found is None:
        raise _not_found(ref)
    return found


def _not_found(ref: str) -> WebhookNotFound:
    return WebhookNotFound(f"there is no webhook {ref[:NAME_SHOWN]}")
