"""What the store gives back of webhooks: frozen records. Times are milliseconds since 1970."""

from dataclasses import dataclass, field
from typing import NamedTuple

from piecework.protocol.messages import DeliveryState


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that is told of ends."""

    id: int
    name: str
    url: str = field(repr=False)
    """It may have a secret of its own in it."""
    secret: str = field(repr=False)
    """``whsec_…``: what is sent is signed with it."""
    old_secret: str | None = field(repr=False)
    """The one before, which signs as well until ``old_until``."""
    old_until: int | None
    created_by: str | None
    """The name of the token that it was created with."""
    created_at: int
    paused_at: int | None
    """Since when nothing is sent."""
    trouble: str | None
    """Why it was paused, when nobody did it."""

    def secrets_at(self, now: int) -> list[str]:
        """Return those that sign now."""
        is_rotating = self.old_secret is not None and self.old_until is not None and self.old_until > now
        return [self.secret, self.old_secret] if is_rotating and self.old_secret else [self.secret]


class NewDelivery(NamedTuple):
    """Something to tell a webhook, about to be stored."""

    id: int
    webhook_id: int
    type: str
    """Such as ``job.finished``."""
    subject_id: int | None
    """The job or group that ended."""
    body: str
    """JSON."""
    created_at: int


class Delivery(NamedTuple):
    """Something that a webhook is, or was, told."""

    id: int
    webhook_id: int
    type: str
    subject_id: int | None
    body: str
    state: DeliveryState
    created_at: int
    next_at: int | None
    """When it is sent, while it waits; when it counts as lost, while it is sent."""
    attempts: int
    tried_at: int | None
    """When the last attempt began."""
    took_ms: int | None
    status: int | None
    """Of the answer; None: there was none."""
    detail: str
    """What came of the last attempt, for people."""


class DeliveryCounts(NamedTuple):
    """How many deliveries of a webhook stand how."""

    waiting: int
    """Those that are sent now, too."""
    failed: int
