"""`piecework limit` and `piecework tenant`: how many jobs of a key run or start, and who takes turns how."""

import time
from collections.abc import Iterable

import rich_click as click

from piecework.cli.options.completing import list_limits, offer
from piecework.cli.options.kinds import KEY, TENANT
from piecework.cli.options.terms import RATE, Rate
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_age
from piecework.cli.screen.rests import tell_rest
from piecework.protocol.messages import LimitInfo
from piecework.text.durations import format_duration

COLUMNS = ["key", "kind", "limit", "set by", "used", "waiting"]


@click.group
def limit() -> None:
    """Limit how many jobs of a key run at once, or start in a time."""


@limit.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, limit: int) -> None:  # its name on the command line
    """List limits by kind and key, with how much of each is used and how many jobs wait."""
    found = list(remote.client.limits(limit + 1))
    if len(found) > limit:
        tell_rest(limit)
    _show(remote, found[:limit])


@limit.command
@click.argument("key", type=KEY, shell_complete=offer(list_limits))
@remote_command
def show(remote: Remote, key: str) -> None:
    """Show the limits of a key."""
    _show(remote, remote.client.limit(key))


@limit.command("set")
@click.argument("key", type=KEY, shell_complete=offer(list_limits))
@click.option("--concurrency", type=click.IntRange(min=0), metavar="N", help="So many run at once; 0: none start.")
@click.option("--rate", type=RATE, metavar="N/DURATION", help="So many start in that time, such as 100/1m.")
@remote_command
def set_(remote: Remote, key: str, concurrency: int | None, rate: Rate | None) -> None:
    """Set the limits of a key, whatever its jobs say.

    When more of its jobs run than may, they run on, and no other one starts before.
    """
    if concurrency is None and rate is None:
        raise click.UsageError("give --concurrency, --rate or both.")
    remote.if_interrupted = f"the limit of {key} may be set"
    most, period_s = rate or (None, 1.0)
    _show(remote, remote.client.set_limit(key, concurrency=concurrency, rate=most, period_s=period_s))


@limit.command
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, type=KEY, shell_complete=offer(list_limits))
@remote_command
def clear(remote: Remote, keys: tuple[str, ...]) -> None:
    """Take back what was set for keys: what their jobs say counts again."""
    remote.apply_to_all(keys, remote.client.clear_limit, "cleared")


@limit.command
@remote_command
def check(remote: Remote) -> None:
    """Count the running jobs of all keys anew. The server does so itself, some keys every five seconds."""
    found = remote.client.check_limits()
    if remote.display.as_json:
        remote.display.document({"checked": found.checked, "repaired": found.repaired})
    else:
        remote.display.line(f"{found.checked} limits checked, {found.repaired} counts were wrong")


def _show(remote: Remote, found: Iterable[LimitInfo]) -> None:
    given = list(found)
    rows = ((each.key, each.kind, _describe(each), each.set_by, each.used, each.waiting) for each in given)
    remote.display.listing(given, COLUMNS, rows, less=["set by"])


def _describe(info: LimitInfo) -> str:
    if info.limit is None:
        return "none"
    if not isinstance(info.period_s, float):
        return f"{info.limit}"
    return f"{info.limit} in {format_duration(info.period_s)}"


@click.group
def tenant() -> None:
    """Look at tenants, whose jobs take turns, and weigh them."""


@tenant.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many at most.")
@remote_command
def list_tenants_(remote: Remote, limit: int) -> None:
    """List tenants by name: how many jobs each has, how long the oldest waits, and what ended in the last hour."""
    found = list(remote.client.tenants(limit + 1))
    if len(found) > limit:
        tell_rest(limit)
    found, now = found[:limit], time.time()
    rows = (
        (each.name, each.weight, each.enqueued, each.running, each.finished, each.failed,
         format_age(each.oldest_at, now))
        for each in found
    )  # fmt: skip
    columns = ["name", "weight", "enqueued", "running", "finished 1h", "failed 1h", "oldest enqueued"]
    remote.display.listing(found, columns, rows)


@tenant.command("set")
@click.argument("name", type=TENANT)
@click.option("--weight", type=click.IntRange(1, 1000), required=True, help="So many of its jobs go in a turn.")
@remote_command
def set_tenant(remote: Remote, name: str, weight: int) -> None:
    """Say how many jobs of a tenant go in one of its turns. It need not have any yet."""
    remote.if_interrupted = f"the weight of {name} may be set"
    found = remote.client.set_tenant(name, weight)
    if remote.display.as_json:
        remote.display.document(to_document(found))
    else:
        remote.display.line(f"{found.name} has the weight {found.weight}")
