"""How a command ends that cannot do its work: one line on standard error, and a fitting exit code."""

import signal
import sys
from typing import Any, NoReturn

import click

from piecework.configuration.places import ConfigError
from piecework.extras import WORKER, describe_missing
from piecework.terminal.streams import standard_streams
from piecework.terminal.texts import escape_text
from piecework.worker_agent.errors import AgentError

FAILED = 1
MISUSED = 2
INTERRUPTED = 128 + signal.SIGINT


class CommandGroup(click.Group):
    """Commands whose expected failures end in one line, as those of ``piecework`` do."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        with standard_streams("worker-agent"):
            self._run(*args, **options)

    def _run(self, *args: Any, **options: Any) -> NoReturn:
        options["standalone_mode"] = False
        try:
            outcome = super().main(*args, **options)
        except (click.Abort, KeyboardInterrupt):
            _end("interrupted", INTERRUPTED)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else self.name
            _end(f"{_sentence(error.format_message())} Try '{command} --help'.", error.exit_code)
        except click.ClickException as error:
            _end(error.format_message(), error.exit_code)
        except ModuleNotFoundError as error:
            missing = describe_missing(error, WORKER)
            if missing is None:
                raise
            _end(missing, FAILED)
        except ConfigError as error:
            _end(str(error), MISUSED)
        except AgentError as error:
            _end(str(error), FAILED)
        except OSError as error:
            _end(describe_os_error(error), FAILED)
        sys.exit(outcome if isinstance(outcome, int) else 0)


def describe_os_error(error: OSError) -> str:
    """Put what went wrong on this machine into words."""
    return f"{error.filename}: {error.strerror}" if error.strerror and error.filename else str(error)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _end(message: str, exit_code: int) -> NoReturn:
    click.echo(f"worker-agent: {escape_text(message)}", err=True)
    sys.exit(exit_code)
