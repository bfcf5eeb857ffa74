"""How the command tree is put together: commands load when they are used, failures end in one line."""

import sys
from typing import Any, NoReturn

import rich_click as click

from piecework.cli.failures import INTERRUPTED, describe_failure, warn
from piecework.extras import SERVER, WORKER, describe_missing
from piecework.memory import import_lastingly
from piecework.terminal.streams import standard_streams

EXTRAS = {"server": SERVER, "worker_agent": WORKER}
"""Which extra a command needs whose module is below ``piecework`` in one of these."""


class LazyCommand(click.RichCommand):
    """A command whose module is imported when someone uses it, not when a list of commands is shown."""

    def __init__(self, name: str, target: str, short_help: str) -> None:
        """``target`` is ``module:attribute``."""
        super().__init__(name=name, short_help=short_help, help=short_help)
        self.target = target

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.target.partition(":")
        try:
            command: click.Command = getattr(import_lastingly(module), attribute)
        except ModuleNotFoundError as error:
            missing = describe_missing(error, EXTRAS.get(module.split(".")[1], ""))
            if missing is None:
                raise
            raise click.ClickException(missing) from error
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return self.load().make_context(info_name, args, parent, **extra)


class RootGroup(click.RichGroup):
    """The outermost group: an expected failure ends in one line on stderr and a fitting exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click passes it
        """Return the commands in the order in which they were given, not by the alphabet."""
        return list(self.commands)

    def main(self, *args: Any, **options: Any) -> NoReturn:
        with standard_streams("piecework"):
            self._run(*args, **options)

    def _run(self, *args: Any, **options: Any) -> NoReturn:
        options["standalone_mode"] = False
        try:
            outcome = super().main(*args, **options)
        except (click.Abort, KeyboardInterrupt):
            warn("interrupted")
            sys.exit(INTERRUPTED)
        except Exception as error:
            failure = describe_failure(error)
            if failure is None:
                raise
            warn(failure.message)
            sys.exit(failure.exit_code)
        sys.exit(outcome if isinstance(outcome, int) else 0)
