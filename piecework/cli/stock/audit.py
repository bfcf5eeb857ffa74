"""`piecework audit`: who did what, when."""

import rich_click as click
from msgspec import UNSET

from piecework.cli.queue.jobs.selecting import TIME
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.figures import format_moment
from piecework.cli.screen.rests import tell_rest
from piecework.protocol.messages import AuditEntry

COLUMNS = ["at", "who", "act", "target", "count", "detail"]


@click.command
@click.option("--who", metavar="TOKEN", help="Only what was done with the token of this name.")
@click.option("--act", metavar="WORDS", help="Only acts that begin so, such as cancel, deploy, refused.")
@click.option("--target", metavar="TEXT", help="Only what was done to this, as the list shows it.")
@click.option("--since", type=TIME, help="Only from then on.")
@click.option("--before", type=TIME, help="Only before then.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many at most.")
@remote_command
def audit(
    remote: Remote,
    who: str | None,
    act: str | None,
    target: str | None,
    since: str | None,
    before: str | None,
    limit: int,
) -> None:
    """Show who did what on the server, newest first.

    Submitted jobs are counted for each token and minute, and so are requests that were refused. Nothing that is
    secret is kept. It takes a token of scope operate.
    """
    found = list(remote.client.audit(limit + 1, who=who, act=act, target=target, since=since, before=before))
    if len(found) > limit:
        tell_rest(limit)
    remote.display.listing(found[:limit], COLUMNS, map(_to_row, found[:limit]), less=["detail", "count"])


def _to_row(entry: AuditEntry) -> list[str]:
    return [
        format_moment(entry.at)[:19],
        _name(entry),
        entry.act,
        entry.target or "",
        str(entry.count),
        entry.detail or "",
    ]


def _name(entry: AuditEntry) -> str:
    if entry.by == "token":
        return entry.who or ""
    return f"({entry.by})" if entry.who is UNSET else f"({entry.by} of {entry.who})"
