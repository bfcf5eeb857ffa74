"""`piecework scale`: how many slots the queue could use."""

import rich_click as click

from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_age
from piecework.protocol.messages import ScaleReply, given
from piecework.text.durations import DURATION, format_duration


@click.command
@click.option("--lambda", "lambda_", metavar="LAMBDA", help="Only jobs of this lambda: its id, name or name@id.")
@click.option("--runtime", help="Only jobs that workers can run which offer this runtime.")
@click.option("--tenant", help="Only jobs of this tenant.")
@click.option(
    "--within", type=DURATION, help="Time in which all are to be done that are there now, such as 60 or 10m."
)
@remote_command
def scale(
    remote: Remote, lambda_: str | None, runtime: str | None, tenant: str | None, within: float | None
) -> None:
    """Say how many slots the queue could use, and how many there are.

    Wanted is one slot for each job that is ready or running; with --within as many as do them all in that time, as
    such jobs ran on average in this hour and the last. It is what autoscalers read at GET /scale.
    """
    found = remote.client.wanted_slots(lambda_=lambda_, runtime=runtime, tenant=tenant, within_s=within)
    if remote.display.as_json:
        remote.display.document(to_document(found))
    else:
        remote.display.fields(_list_fields(found))


def _list_fields(found: ScaleReply) -> dict[str, object]:
    oldest = f", the oldest submitted {format_duration(found.oldest_s)} ago" if found.enqueued else ""
    counted = format_age(found.counted_at, found.at)
    ran = given(found.run_s)
    return {
        "wanted": f"{found.wanted:,} slots",
        "slots": f"{found.slots:,}, {found.free:,} of them free",
        "ready": f"{found.enqueued:,}{oldest}{f' (counted {counted})' if counted else ''}",
        "running": f"{found.running:,}",
        "ran": None if ran is None else f"{format_duration(ran)} on average",
    }
