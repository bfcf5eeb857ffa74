"""`piecework job list --failed`: what failed, and how often."""

import time

import rich_click as click

from piecework.cli.failures import warn
from piecework.cli.remote import Remote
from piecework.cli.screen.figures import format_age
from piecework.client import Selection
from piecework.protocol.messages import FailureCount


def list_failures(remote: Remote, which: Selection, limit: int) -> None:
    """Show failed jobs that were not run again, counted by lambda and reason, the most frequent first."""
    if "state" in which:
        raise click.UsageError("--failed is about failed jobs: leave --state out.")
    found, now = remote.client.failures(limit, **which), time.time()
    rows = (
        (each.count, each.lambda_name or each.lambda_, format_age(each.last_at, now), each.job, _describe(each))
        for each in found.failures
    )
    remote.display.listing(found.failures, ["jobs", "lambda", "last", "newest", "reason"], rows)
    rest = found.total - sum(each.count for each in found.failures)
    if rest:
        warn(f"{rest:,} more failed for other reasons: --limit shows further ones")


def _describe(failures: FailureCount) -> str:
    return f"{failures.kind}: {failures.message}" if failures.kind else "the worker gave no reason"
