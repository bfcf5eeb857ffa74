"""How commands take references to modules in OCI registries."""

from typing import Any

import click
from click.shell_completion import CompletionItem

from piecework.oci.references import SCHEME, Reference

PLAIN_HTTP_HELP = "Do without TLS at the OCI registry; one on this machine may have none anyway."


class OrReference(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """What another type takes, or a module in an OCI registry."""

    def __init__(self, other: "click.ParamType[Any]") -> None:
        self.other = other
        self.name = f"{other.name}|{SCHEME}…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, Reference):
            return value
        if not isinstance(value, str) or not value.startswith(SCHEME):
            return self.other.convert(value, param, ctx)
        try:
            return Reference.parse(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return self.other.shell_complete(ctx, param, incomplete)
