"""How a command names a file that a job gets, and the job that produces it."""

from typing import Any

import rich_click as click
from click.shell_completion import CompletionItem

from piecework.cli.options.kinds import Ending, IdType
from piecework.protocol.ids import Id
from piecework.protocol.job_files import PATH_RULE, is_path
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


class MadeFileType(SourceType):
    """``NAME=ID:FILE``: a file, and the job that gives it back; ``NAME=ID``: what the job produces."""

    name = "name=id:file"

    def convert(  # type: ignore[override]  # as above
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Id | Ending, str | None]:
        if isinstance(value, tuple):
            return value
        name, equals, source = str(value).partition("=")
        job, colon, file = source.partition(":")
        if not equals or not is_path(name) or (colon and not is_path(file)):
            self.fail(f"{value!r} is not NAME=ID:FILE, nor NAME=ID; {PATH_RULE}.", param, ctx)
        return name, IdType.convert(self, job, param, ctx), file or None


MADE_FILE = MadeFileType()
SOURCE = SourceType()
