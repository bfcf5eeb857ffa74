"""Failures as people read them: one line that says what to do, and an exit code."""

from typing import NamedTuple

import rich_click as click

from piecework.configuration.places import ConfigError
from piecework.extras import describe_missing
from piecework.protocol.codes import Code
from piecework.protocol.ids import Id
from piecework.terminal.exits import exit_status
from piecework.terminal.texts import escape_text

FAILED = 1
"""The request, or the job, failed."""
MISUSED = 2
"""The command line was wrong."""
INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT."""


class Interruption(click.ClickException):
    """Ctrl-C, and what became of the jobs of the command that it ended."""

    exit_code = INTERRUPTED

    def __init__(self, left: str) -> None:
        super().__init__(f"interrupted; {left}")


class GuestFailure(click.ClickException):
    """The end of a command whose guest ended itself with a code other than 0."""

    def __init__(self, job: Id, message: str, code: int) -> None:
        super().__init__(_point_to_trace(message, job))
        self.exit_code = exit_status(code)  # type: ignore[misc]  # as click does


class Failure(NamedTuple):
    """How the command ends."""

    message: str
    exit_code: int


def warn(message: str) -> None:
    """Tell people something on stderr, beside what the command prints."""
    click.echo(f"piecework: {escape_text(message)}", err=True)


def describe_failure(error: Exception) -> Failure | None:
    """Put an expected failure into words; None for an unexpected one, which is a bug."""
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "piecework"
        return Failure(f"{error.format_message()} Try '{command} --help'.", MISUSED)
    if isinstance(error, click.ClickException):
        return Failure(error.format_message(), error.exit_code)
    if isinstance(error, ModuleNotFoundError):
        missing = describe_missing(error)
        return None if missing is None else Failure(missing, FAILED)
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{error.filename}: "
        return Failure(f"{place}{error.strerror}", FAILED)
    if isinstance(error, UnicodeEncodeError):
        return Failure(f"{error.object!r} is no text that can be sent: it is not UTF-8", MISUSED)
    return _client_failure(error)


def _client_failure(error: Exception) -> Failure | None:
    # The client is slow to import; by the time one of its errors gets here it has been imported anyway.
    from piecework.client import ApiError, ClientError, JobFailed, Refused, ServerUnreachable  # noqa: PLC0415

    if isinstance(error, ServerUnreachable):
        return Failure(f"{error}. {_find_way_out(error)}", FAILED)
    if isinstance(error, Refused):
        hint = "Give a token that may do this with --token or PIECEWORK_TOKEN."
        return Failure(f"{_sentence(str(error))} {hint}", FAILED)
    if isinstance(error, JobFailed):
        return Failure(_point_to_trace(str(error), error.job), FAILED)
    if isinstance(error, ApiError) and error.code == Code.BLOB_NOT_FOUND:
        return Failure("there is no blob with this id", FAILED)  # the server's are for older clients
    if isinstance(error, ClientError | ConfigError):
        return Failure(str(error), MISUSED if isinstance(error, ConfigError) else FAILED)
    return None


def _find_way_out(error: Exception) -> str:
    """Say what to do about a server that cannot be reached."""
    from piecework.client import CertificateRefused, ProxyUnreachable  # noqa: PLC0415  # as above

    if isinstance(error, ProxyUnreachable):
        return "Name another proxy in that variable, or this server's host in NO_PROXY."
    if isinstance(error, CertificateRefused):
        return "Name the file of the authority that signed it with --ca or PIECEWORK_CA."
    if isinstance(error.__cause__, Exception) and isinstance(error.__cause__.__cause__, TimeoutError):
        return "It may be busy; or name another with --url or PIECEWORK_URL."
    return "Start a server with 'piecework server run', or name one with --url or PIECEWORK_URL."


def _point_to_trace(message: str, job: Id) -> str:
    return f"{_sentence(message)} See 'piecework job trace {job}'."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
