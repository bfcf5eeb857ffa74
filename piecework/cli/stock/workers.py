"""`piecework worker`: the agent, and workers as an operator sees them."""

import time

import rich_click as click

from piecework.cli.groups import LazyCommand
from piecework.cli.options.connection import find_given
from piecework.cli.options.kinds import WORKER
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_age
from piecework.protocol.ids import Id
from piecework.protocol.messages import WorkerInfo


@click.group
@click.pass_context
def worker(context: click.Context) -> None:
    """Run an agent, look at workers, drain and retire them."""
    # The agent's own options have other names: what was said of the server before the command holds for it, too.
    given = find_given(context, {})
    context.default_map = {"run": {"server": given.pop("url"), **given}}


worker.add_command(LazyCommand("run", "piecework.worker_agent.cli:run", "Run an agent on this node."))


@worker.command("list")
@click.option("--all", "everyone", is_flag=True, help="Also those that were retired, or silent for over a day.")
@remote_command
def list_(remote: Remote, everyone: bool) -> None:
    """List the workers, newest first."""
    found = list(remote.client.workers(everyone=everyone))
    columns = ["id", "name", "state", "running", "slots", "runtimes", "tags", "seen"]
    troubled = any(each.trouble for each in found)
    now = time.time()
    rows = ((*_row(each, now), each.trouble or "") if troubled else _row(each, now) for each in found)
    remote.display.listing(found, columns + ["trouble"] * troubled, rows, less=["slots"])


@worker.command
@remote_command
def owners(remote: Remote) -> None:
    """List how the workers of each owner did, as far as others ran the same jobs (lambda create --verify)."""
    found = remote.client.owners()
    rows = ((each.name, each.streak, each.agreed, each.wrong, "yes" if each.is_trusted else "") for each in found)
    remote.display.listing(found, ["owner", "streak", "agreed", "wrong", "trusted"], rows)


@worker.command
@click.argument("worker_id", metavar="ID", type=WORKER)
@remote_command
def show(remote: Remote, worker_id: Id) -> None:
    """Show everything about a worker."""
    info = remote.client.worker(worker_id)
    if remote.display.as_json:
        remote.display.document(to_document(info))
        return
    now = time.time()
    remote.display.fields(
        {
            "id": info.id,
            "name": info.name,
            "state": info.state,
            "trouble": info.trouble or None,
            "running": info.running,
            "slots": info.slots,
            "runtimes": info.runtime,
            "tags": info.tags,
            "host": info.hostname,
            "agent version": info.agent_version,
            "registered": format_age(info.registered_at, now),
            "seen": format_age(info.seen_at, now),
        }
    )
    if info.jobs:
        remote.display.line("")
        rows = [
            (each.job, each.lambda_, each.name, each.attempt, format_age(each.since, now)) for each in info.jobs
        ]
        remote.display.table(["job", "lambda", "name", "attempt", "since"], rows)


@worker.command
@click.argument("worker_ids", metavar="ID...", nargs=-1, required=True, type=WORKER)
@remote_command
def drain(remote: Remote, worker_ids: tuple[Id, ...]) -> None:
    """Tell workers to take no more jobs and to finish those they have."""
    remote.apply_to_all(worker_ids, remote.client.drain_worker, "draining")


@worker.command
@click.argument("worker_ids", metavar="ID...", nargs=-1, required=True, type=WORKER)
@remote_command
def retire(remote: Remote, worker_ids: tuple[Id, ...]) -> None:
    """Remove workers. Their jobs go to others; an agent that still runs registers again."""
    remote.apply_to_all(worker_ids, remote.client.retire_worker, "retired")


def _row(info: WorkerInfo, now: float) -> tuple[object, ...]:
    return (
        info.id,
        info.name,
        info.state,
        info.running,
        info.slots,
        info.runtime,
        info.tags,
        format_age(info.seen_at, now),
    )
