"""`piecework webhook`: URLs that are told of the ends of jobs and groups."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import get_args

import rich_click as click
from msgspec import UNSET
from rich_click import ClickException

from piecework.cli.failures import warn
from piecework.cli.options.kinds import DELIVERY, NEW_NAME, WEBHOOK
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_age
from piecework.cli.screen.rests import tell_rest
from piecework.protocol.ids import Id
from piecework.protocol.messages import DeliveryBrief, DeliveryState, WebhookInfo, given
from piecework.text.durations import format_duration

COLUMNS = ("id", "type", "of", "state", "attempts", "last", "status", "detail")
TEST_S = 30.0
"""How long a test is waited for: an attempt takes half of that at most."""
LOOK_S = 0.2


@click.group
def webhook() -> None:
    """Have URLs told when jobs and groups end.

    Jobs name a webhook with 'piecework job submit --on-end NAME', schedules and groups as well.
    """


@webhook.command
@click.argument("name", type=NEW_NAME)
@click.argument("leads_to", metavar="URL")
@remote_command
def create(remote: Remote, name: str, leads_to: str) -> None:
    """Register a URL under a name, and print the secret that messages to it are signed with.

    No other command shows the secret: 'piecework webhook rotate' makes a new one.
    """
    remote.if_interrupted = "the webhook may be there: 'piecework webhook rotate' gives it a secret that is known"
    _reveal(remote, remote.client.create_webhook(name, leads_to))


@webhook.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, limit: int) -> None:
    """List webhooks, newest first."""
    found = list(remote.client.webhooks(limit + 1))
    if len(found) > limit:
        tell_rest(limit)
    found, now = found[:limit], time.time()
    rows = ((each.name, each.url, _stands(each), format_age(each.created_at, now)) for each in found)
    remote.display.listing(found, ["name", "URL", "state", "created"], rows)


@webhook.command
@click.argument("ref", metavar="WEBHOOK", type=WEBHOOK)
@remote_command
def show(remote: Remote, ref: Id | str) -> None:
    """Show a webhook, and how many of its deliveries wait or failed."""
    _show(remote, remote.client.webhook(ref))


@webhook.command
@click.argument("ref", metavar="WEBHOOK", type=WEBHOOK)
@click.argument("leads_to", metavar="URL")
@remote_command
def move(remote: Remote, ref: Id | str, leads_to: str) -> None:
    """Have a webhook lead to another URL, also with what it was not told yet. Its secret stays."""
    remote.if_interrupted = f"{ref} may have been moved"
    _show(remote, remote.client.move_webhook(ref, leads_to))


@webhook.command
@click.argument("ref", metavar="WEBHOOK", type=WEBHOOK)
@click.option("--at-once", is_flag=True, help="Have the secret before not count any more, not even for a day.")
@remote_command
def rotate(remote: Remote, ref: Id | str, *, at_once: bool) -> None:
    """Give a webhook a new secret, and print it. The one before signs as well for 24 hours."""
    remote.if_interrupted = f"{ref} may have a new secret: rotate it again"
    _reveal(remote, remote.client.rotate_webhook(ref, at_once=at_once))


@webhook.command
@click.argument("refs", metavar="WEBHOOK...", nargs=-1, required=True, type=WEBHOOK)
@remote_command
def pause(remote: Remote, refs: Sequence[Id | str]) -> None:
    """Have nothing sent to webhooks until they are resumed. What they are to be told waits."""
    remote.apply_to_all(refs, lambda ref: f"{remote.client.pause_webhook(ref).name} is paused", "paused")


@webhook.command
@click.argument("refs", metavar="WEBHOOK...", nargs=-1, required=True, type=WEBHOOK)
@remote_command
def resume(remote: Remote, refs: Sequence[Id | str]) -> None:
    """Have webhooks told what waits, and all that comes."""
    remote.apply_to_all(refs, lambda ref: f"{remote.client.resume_webhook(ref).name} is resumed", "resumed")


@webhook.command
@click.argument("refs", metavar="WEBHOOK...", nargs=-1, required=True, type=WEBHOOK)
@remote_command
def delete(remote: Remote, refs: Sequence[Id | str]) -> None:
    """Delete webhooks with all that they were, or are to be, told."""
    remote.apply_to_all(refs, remote.client.delete_webhook, "deleted")


@webhook.command
@click.argument("ref", metavar="WEBHOOK", type=WEBHOOK)
@remote_command
def test(remote: Remote, ref: Id | str) -> None:
    """Send a webhook something that means nothing, and tell what came of it; exit code 1 when it was not taken."""
    found = remote.client.test_webhook(ref).delivery
    pause, end = threading.Event(), time.monotonic() + TEST_S
    while found.state in {"waiting", "sending"} and time.monotonic() < end:
        pause.wait(LOOK_S)
        found = remote.client.delivery(found.id).delivery
    if remote.display.as_json:
        remote.display.document(to_document(found))
    if found.state != "delivered":
        raise ClickException(found.detail or f"it was not sent within {TEST_S:g} s")
    if not remote.display.as_json:
        remote.display.line(f"{found.detail} in {format_duration(found.took_s or 0.0)}")


@webhook.command
@click.argument("ref", metavar="WEBHOOK", type=WEBHOOK)
@click.option("--state", type=click.Choice(get_args(DeliveryState)), help="Only those that stand so.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show so many at most.")
@remote_command
def deliveries(remote: Remote, ref: Id | str, state: DeliveryState | None, limit: int) -> None:
    """List what a webhook was, or is to be, told, newest first."""
    found = list(remote.client.deliveries(ref, state=state, limit=limit + 1))
    if len(found) > limit:
        tell_rest(limit)
    found, now = found[:limit], time.time()
    remote.display.listing(found, COLUMNS, (_row(each, now) for each in found), less=["last", "attempts"])


@webhook.command
@click.argument("delivery", type=DELIVERY)
@remote_command
def delivery(remote: Remote, delivery: Id) -> None:
    """Show a delivery, and what is sent with it."""
    info = remote.client.delivery(delivery)
    if remote.display.as_json:
        remote.display.document(to_document(info))
        return
    found, now = info.delivery, time.time()
    remote.display.fields(
        {
            **dict(zip(COLUMNS, _row(found, now), strict=True)),
            "webhook": info.webhook,
            "took": None if given(found.took_s) is None else format_duration(found.took_s or 0.0),
            "next": format_age(found.next_at, now),
            "created": format_age(found.created_at, now),
            "body": info.body,
        }
    )


@webhook.command
@click.argument("ids", metavar="[DELIVERY...]", nargs=-1, type=DELIVERY)
@click.option("--failed", "ref", metavar="WEBHOOK", type=WEBHOOK, help="All that failed of this webhook.")
@remote_command
def retry(remote: Remote, ids: Sequence[Id], ref: Id | str | None) -> None:
    """Send deliveries again, now, whatever became of them."""
    if bool(ids) == (ref is not None):
        raise click.UsageError("give the ids of deliveries, or --failed WEBHOOK.")
    if ref is None:
        remote.apply_to_all(ids, lambda each: _retry(remote, each), "retried")
        return
    remote.if_interrupted = f"some deliveries of {ref} may be sent again"
    count = remote.client.retry_deliveries(ref)
    if remote.display.as_json:
        remote.display.document({"retried": count})
    else:
        remote.display.line(f"{count:,} deliveries are sent again")


def _retry(remote: Remote, id_: Id) -> str:
    remote.client.retry_delivery(id_)
    return f"delivery {id_} is sent again"


def _reveal(remote: Remote, info: WebhookInfo) -> None:
    """Print a secret alone, so that a script can keep it, and say on stderr what it is."""
    if remote.display.as_json:
        remote.display.document(to_document(info))
        return
    warn(f"the secret of {info.name}, which is not shown again:")
    remote.display.line(info.secret)


def _show(remote: Remote, info: WebhookInfo) -> None:
    if remote.display.as_json:
        remote.display.document(to_document(info))
        return
    now = time.time()
    fields: Mapping[str, object] = {
        "name": info.name,
        "id": info.id,
        "URL": info.url,
        "state": _stands(info),
        "trouble": info.trouble,
        "waiting": info.waiting,
        "failed": info.failed,
        "created": format_age(info.created_at, now),
        "created by": info.created_by,
        "paused": format_age(info.paused_at, now),
        "old secret": "" if info.old_secret_until is UNSET else f"until {format_age(info.old_secret_until, now)}",
    }
    remote.display.fields(fields)


def _stands(info: WebhookInfo) -> str:
    return "active" if given(info.paused_at) is None else "paused"


def _row(found: DeliveryBrief, now: float) -> tuple[object, ...]:
    """Return the cells under COLUMNS."""
    last = format_age(found.tried_at, now)
    return (found.id, found.type, found.subject, found.state, found.attempts, last, found.status, found.detail)
