"""What the shell offers for ids and names: what the server answers within a second, nothing when it is away."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias

import rich_click as click
from click.shell_completion import CompletionItem

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


def list_lambdas(client: "Client") -> Iterable[Named]:
    return ((each.id, each.name or "") for each in client.lambdas(limit=MOST))


def list_workers(client: "Client") -> Iterable[Named]:
    return ((each.id, each.name or "") for each in islice(client.workers(), MOST))


def list_namespaces(client: "Client") -> Iterable[Named]:
    return ((each.id, f"{each.entries} entries") for each in client.namespaces(limit=MOST))


def list_functions(client: "Client") -> Iterable[Named]:
    return ((each.name, "") for each in client.functions())


def list_runtimes(client: "Client") -> Iterable[Named]:
    return ((name, f"{found.workers} workers") for name, found in client.runtimes().items())


def offer(
    question: Question,
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return what completes a word with answers to a question: what begins like it, or is called so."""

    def complete(context: click.Context, _parameter: click.Parameter, word: str) -> list[CompletionItem]:
        return [
            CompletionItem(str(value), help=name or None)
            for value, name in _ask(context, question)
            if str(value).startswith(word) or (name and name.lower().startswith(word.lower()))
        ]

    return complete


def _ask(context: click.Context, question: Question) -> list[Named]:
    """Return what the server of a command line answers within LOOK_S, which may be nothing."""
    found: list[Named] = []

    def ask() -> None:
        from piecework.client import Client  # noqa: PLC0415  # commands start faster without it

        here, root = context.params, context.find_root().params
        given: dict[str, Any] = {name: here.get(name) or root.get(name) for name in ("url", "token", "ca")}
        # Whatever is wrong, a shell in the middle of a line is no place to say so.
        with suppress(Exception), Client(**given, attempts=1, read_timeout_s=LOOK_S) as client:
            found.extend(question(client))

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(LOOK_S)
    return found[:]
