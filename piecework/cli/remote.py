"""What a command works with: a client for the server it was pointed at, and a display for its results."""

import functools
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED, describe_failure, warn
from piecework.cli.options.connection import connection_options, find_given
from piecework.cli.options.kinds import Ending
from piecework.cli.queue.jobs.waiting import explaining
from piecework.cli.screen.display import Display
from piecework.client import ApiError, Client, Invalid, NotFound, Refused
from piecework.client.environment import ChosenServer, find_server
from piecework.client.retries import RetryPolicy
from piecework.configuration.places import ConfigError
from piecework.protocol.ids import Id
from piecework.protocol.names import ModuleName
from piecework.protocol.text import find_fault
from piecework.variables import find_unknown

R = TypeVar("R")
T = TypeVar("T", Id, ModuleName, str, Id | str)

HASTY = RetryPolicy(attempts=4, read_s=10.0, total_s=5.0)
"""While nobody is known to answer: a request is tried for about a second. A server that takes the connection and
says nothing has longer, for it may be busy."""
PATIENT = replace(HASTY, attempts=30, read_s=RetryPolicy.read_s, total_s=RetryPolicy.total_s)
"""While waiting for jobs: a server may be away for over a minute."""


class Remote:
    """The server that a command talks to, and where it shows what it found."""

    def __init__(self, server: ChosenServer, display: Display, ca: Path | None = None) -> None:
        self.client = connect(server, HASTY)
        self.ca = ca
        """The certificates to trust that the command line names, if it does."""
        self.has_token = bool(server.token)
        """Whether there is a token to show."""
        self.display = display
        self.if_interrupted = "nothing was changed"
        """What Ctrl-C would leave behind now, in words. A command that changes something says it before."""

    @functools.cached_property
    def patient_client(self) -> Client:
        """A client for long waits: it bears with a server that restarts."""
        return self.client.with_retries(PATIENT)

    def complete(self, value: Any) -> Any:
        """Return the whole ids of those that were given by their ends, also within tuples; else what was given.

        Raises click.UsageError for an end that several have.
        """
        if isinstance(value, Ending):
            return self._find(value)
        if isinstance(value, tuple) and any(isinstance(each, Ending | tuple) for each in value):
            return tuple(map(self.complete, value))
        return value

    def _find(self, ending: Ending) -> Id | str:
        try:
            found = self.client.find_ids(ending.kind, ending.digits)
        except (Invalid, NotFound, Refused):  # an older server, or a token that may not look: it may be a whole id
            found = []
        if len(found) > 1:
            ids = ", ".join(map(str, found))
            kind = "blob" if ending.kind == "data" else ending.kind
            raise click.UsageError(f"several ids of a {kind} end with {ending.digits}: {ids}.")
        id_ = found[0] if found else Id(ending.digits)
        return f"{ending.name}@{id_}" if ending.name else id_

    def apply_to_all(self, ids: Collection[T], action: Callable[[T], str], done: str) -> None:
        """Do something to each and say what came of it; a refusal does not keep the others from their turn.

        Or prints ``{done: [ids]}`` as a document when asked to, also when it does not get to the end. Exits 1 when
        something was refused.
        """
        finished: list[str] = []
        refused = 0
        try:
            for each in ids:
                self.if_interrupted = f"{done}: {len(finished)} of {len(ids)}, and perhaps {each}"
                try:
                    message = action(each)
                    if not self.display.as_json:
                        self.display.line(message)
                    finished.append(str(each))
                except ApiError as error:
                    failure = describe_failure(error) or error
                    warn(f"{each}: {failure.message}")
                    refused += 1
        finally:
            if self.display.as_json:
                self.display.document({done: finished})
        if refused:
            raise Exit(FAILED)


def choose_server(**given: Any) -> ChosenServer:
    """Return the server that options, environment and files name; what is wrong with files is told by itself."""
    try:
        server = find_server(**given)
    except ConfigError:
        raise
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    for line in server.warnings:
        warn(line)
    return server


def connect(server: ChosenServer, retries: RetryPolicy) -> Client:
    """Return a client; a URL that is none is a mistake on the command line."""
    try:
        return Client(server.url, server.token, ca=server.ca).with_retries(retries)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error


def check_words(context: click.Context, options: Mapping[str, object]) -> None:
    """Raise click.BadParameter for a word that no request can have. Names of files may be anything."""
    for parameter in context.command.params:
        value = options.get(parameter.name or "")
        for each in value if isinstance(value, tuple) else (value,):
            if fault := find_fault(each):
                raise click.BadParameter(f"{fault}.", context, parameter)


def remote_command(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command ``--json`` and the options for a server, and pass it a Remote as first argument."""

    @connection_options
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
    @click.pass_context
    @functools.wraps(function)
    def command(
        context: click.Context,
        /,
        *args: Any,
        as_json: bool,
        **options: Any,
    ) -> R:
        given = find_given(context, options)
        check_words(context, options)
        for line in find_unknown(os.environ):
            warn(line)
        remote = Remote(choose_server(**given), Display(as_json=as_json), given["ca"])
        with explaining(lambda: remote.if_interrupted):
            return function(remote, *args, **{name: remote.complete(value) for name, value in options.items()})

    return command
