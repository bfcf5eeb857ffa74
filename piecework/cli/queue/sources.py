"""How a command names a file that a job gets, and the job that produces it."""

from typing import Any

import rich_click as click
from click.shell_completion import CompletionItem

from piecework.cli.options import Ending, IdType
from piecework.protocol.ids import Id
from piecework.protocol.names import NAME_RULE, is_name


class SourceType(IdType):
    """``NAME=ID``: a file, and the job that produces it."""

    name = "name=id"

    def __init__(self) -> None:
        super().__init__("job")

    def convert(  # type: ignore[override]  # the id has a name
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Id | Ending]:
        if isinstance(value, tuple):
            return value
        name, equals, job = str(value).partition("=")
        if not equals or not is_name(name):
            self.fail(f"{value!r} is not NAME=ID; {NAME_RULE}.", param, ctx)
        return name, super().convert(job, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        name, equals, job = incomplete.partition("=")
        if not equals:
            return []
        found = super().shell_complete(ctx, param, job)
        return [CompletionItem(f"{name}={each.value}", help=each.help) for each in found]


SOURCE = SourceType()
