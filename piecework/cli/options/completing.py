"""What the shell offers for ids and names: what the server answers within a second, nothing when it is away."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import available_timezones

import rich_click as click
from click.shell_completion import CompletionItem

from piecework.cli.options.connection import find_given

if TYPE_CHECKING:
    from piecework.client import Client

LOOK_S = 1.0
MOST = 100
"""So many of the newest are looked through."""

Named: TypeAlias = tuple[object, str]
"""What may be typed, and what people call it."""
Question: TypeAlias = "Callable[[Client], Iterable[Named]]"


def list_jobs(client: "Client") -> Iterable[Named]:
    return ((each.id, each.state) for each in client.jobs(limit=MOST))


def list_groups(client: "Client") -> Iterable[Named]:
    for each in client.groups(limit=MOST):
        yield each.name or each.id, "open" if not each.sealed_at else "sealed"


def list_lambdas(client: "Client") -> Iterable[Named]:
    found = list(client.lambdas(limit=MOST))
    names = {each.name: f"{each.runtime}, the newest" for each in reversed(found) if each.name}
    yield from names.items()
    yield from ((each.id, f"{each.runtime} {each.name or ''}".strip()) for each in found)


def list_workers(client: "Client") -> Iterable[Named]:
    return ((each.id, each.name or "") for each in islice(client.workers(), MOST))


def list_namespaces(client: "Client") -> Iterable[Named]:
    return ((each.id, f"{each.entries} entries") for each in client.namespaces(limit=MOST))


def list_schedules(client: "Client") -> Iterable[Named]:
    return ((each.name, each.cron or f"every {each.every_s:g} s") for each in client.schedules(limit=MOST))


def list_webhooks(client: "Client") -> Iterable[Named]:
    return ((each.name, "paused" if each.paused_at else "") for each in client.webhooks(limit=MOST))


def list_limits(client: "Client") -> Iterable[Named]:
    return ((each.key, each.kind) for each in client.limits(limit=MOST))


def list_tenants(client: "Client") -> Iterable[Named]:
    return ((each.name, f"weight {each.weight}") for each in client.tenants(limit=MOST))


def list_paused(kind: str) -> Question:
    """Return the question which things of a kind are paused."""
    return lambda client: ((each.target, each.name or "") for each in client.holds() if each.kind == kind)


def list_functions(client: "Client") -> Iterable[Named]:
    return ((each.name, "") for each in client.functions())


def list_runtimes(client: "Client") -> Iterable[Named]:
    return ((name, f"{found.workers} workers") for name, found in client.runtimes().items())


def offer(
    question: Question,
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return what completes a word with answers to a question: what begins like it, or is called so."""

    def complete(context: click.Context, _parameter: click.Parameter, word: str) -> list[CompletionItem]:
        return _choose(_ask(context, question), word)

    return complete


def complete_time_zone(_context: click.Context, _parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """Return the time zones that begin like a word, or whose places do. No server is asked."""
    return _choose(((each, each.rpartition("/")[2]) for each in sorted(available_timezones())), word)


def _choose(offers: Iterable[Named], word: str) -> list[CompletionItem]:
    return [
        CompletionItem(str(value), help=name or None)
        for value, name in offers
        if str(value).startswith(word) or (name and name.lower().startswith(word.lower()))
    ]


def _ask(context: click.Context, question: Question) -> list[Named]:
    """Return what the server of a command line answers within LOOK_S, which may be nothing."""
    found: list[Named] = []

    def ask() -> None:
        from piecework.client import Client  # noqa: PLC0415  # commands start faster without it

        given = find_given(context, dict(context.params))
        # Whatever is wrong, a shell in the middle of a line is no place to say so.
        with suppress(Exception), Client(**given, attempts=1, read_timeout_s=LOOK_S) as client:
            found.extend(question(client))

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(LOOK_S)
    return found[:]
