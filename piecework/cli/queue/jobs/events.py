"""`piecework job watch`: what happens to jobs, as it happens."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import rich_click as click
from msgspec import UNSET

from piecework.cli.options.kinds import GROUP, JOB, LAMBDA
from piecework.cli.queue.jobs.selecting import STATES
from piecework.cli.remote import PATIENT, Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.tables import to_text
from piecework.client import Client
from piecework.protocol.ids import Id
from piecework.protocol.messages import FeedEvent
from piecework.protocol.states import JobState

ENDLESS = replace(PATIENT, attempts=10**9, total_s=math.inf)
"""Who watches has time: the server may be away for long, and nothing is lost meanwhile."""


@click.command
@click.argument("job_ids", metavar="[ID...]", nargs=-1, type=JOB)
@click.option("--lambda", "lambda_id", type=LAMBDA, help="Only jobs of this lambda.")
@click.option("--group", type=GROUP, help="Only jobs of this group.")
@click.option("--state", type=STATES, help="Only when they come into these states, with commas between them.")
@click.option(
    "--after", type=click.IntRange(min=0), metavar="NUMBER", help="Go on from this event; 0: from the first."
)
@click.option("--all", "from_oldest", is_flag=True, help="Begin with the oldest event that is kept.")
@click.option("--no-follow", is_flag=True, help="Stop at what has happened by now.")
@remote_command
def watch(  # one parameter for each option
    remote: Remote,
    job_ids: Sequence[Id],
    lambda_id: Id | str | None,
    group: Id | str | None,
    state: str | None,
    after: int | None,
    *,
    from_oldest: bool,
    no_follow: bool,
) -> None:
    """Print each step of jobs as they take it: of all jobs, or of those that fit.

    With ids it shows first where these jobs stand, and ends when the last of them has. Otherwise it goes on until
    Ctrl-C. A connection that breaks is made anew, and nothing is printed twice or left out. With --json it prints
    one document on each line; the number of the last one is what --after takes.
    """
    if from_oldest and after is not None:
        raise click.UsageError("--all and --after exclude each other.")
    begin = _find_begin(remote.client, after, from_oldest=from_oldest)
    which: dict[str, Any] = {"jobs": job_ids, "groups": [group] if group else [], "lambda_": lambda_id}
    left, stood = set(job_ids), dict[Id, JobState]()
    if job_ids and after is None and not from_oldest:
        stood = _show_standing(remote, dict.fromkeys(job_ids), begin)
        left -= {each for each, where in stood.items() if where.is_final}
    if job_ids and not left:
        return
    wanted = set(state.split(",")) if state else set()
    client = remote.client.with_retries(ENDLESS)
    for event in client.events(after=begin, **which, states=() if job_ids else wanted, follow=not no_follow):
        is_known = stood.pop(event.job, None) is event.state or (job_ids and event.job not in left)
        if not is_known and (not wanted or event.state in wanted):
            _show(remote, event)
        if event.state.is_final:
            left.discard(event.job)
            if job_ids and not left:
                return


def _find_begin(client: Client, after: int | None, *, from_oldest: bool) -> int:
    if from_oldest:
        return client.oldest_event() - 1
    return client.newest_event() if after is None else after


def _show_standing(remote: Remote, job_ids: Iterable[Id], number: int) -> dict[Id, JobState]:
    """Show where jobs stand after an event, and return that by their ids."""
    infos = list(map(remote.client.job, job_ids))
    for info in infos:
        _show(
            remote,
            FeedEvent(
                number=number,
                at=info.finished_at or info.started_at or info.created_at,
                job=info.id,
                state=info.state,
                lambda_=info.lambda_.id,
                lambda_name=info.lambda_.name or UNSET,
                detail=info.error.message if info.error else "",
            ),
        )
    return {info.id: info.state for info in infos}


def _show(remote: Remote, event: FeedEvent) -> None:
    if remote.display.as_json:
        remote.display.record(to_document(event))
        return
    at = datetime.fromtimestamp(event.at).astimezone().isoformat(sep=" ", timespec="milliseconds")[:23]
    name = event.lambda_name or event.lambda_ or "-"
    line = f"{at}  {event.job}  {event.state:<14}  {name}"
    remote.display.line(f"{line}  {to_text(event.detail)}" if event.detail else line)
