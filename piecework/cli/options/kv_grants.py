"""The option that lets a lambda use namespaces."""

from typing import Any

import rich_click as click
from click.shell_completion import CompletionItem

from piecework.cli.options.kinds import Ending, F, IdType
from piecework.protocol.ids import Id
from piecework.protocol.kv_grants import KvGrant

Given = tuple[str, Id | Ending, bool]
"""What guests call it, "" for its id; the namespace; whether it may be written."""


class KvGrantType(IdType):
    """``[NAME=]NAMESPACE[:rw]``; the end of an id will do."""

    name = "[name=]namespace[:rw]"

    def __init__(self) -> None:
        super().__init__("namespace")

    def convert(  # type: ignore[override]  # the id has something around it
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Given:
        if isinstance(value, tuple):
            return value
        try:
            granted = KvGrant.parse(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        name, _, digits = str(value).partition(":")[0].rpartition("=")
        return name, super().convert(digits, param, ctx), granted.write

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        name, equals, digits = incomplete.rpartition("=")
        found = super().shell_complete(ctx, param, digits)
        return [CompletionItem(f"{name}{equals}{each.value}", help=each.help) for each in found]


def kv_grant_option(command: F) -> F:
    """Add the option ``--grant-kv``; ``read_kv_grants`` reads it."""
    return click.option(
        "--grant-kv",
        type=KvGrantType(),
        multiple=True,
        metavar="[NAME=]NAMESPACE[:rw]",
        help="Let it read a namespace, or write it too; guests call it NAME.",
    )(command)


def read_kv_grants(given: tuple[tuple[str, Id, bool], ...]) -> list[str]:
    """Return the grants as a request has them."""
    return [str(KvGrant(name or str(namespace), namespace, write)) for name, namespace, write in given]
