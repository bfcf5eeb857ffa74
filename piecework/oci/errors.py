"""What goes wrong with OCI registries. Each message is one line for people, and holds no secret."""

from collections.abc import Iterator
from contextlib import contextmanager

TEXT_MAX = 300
"""So many characters of what a registry wrote stand in a message."""


class OciError(Exception):
    """A module could not be pulled or pushed."""


@contextmanager
def about(what: object) -> Iterator[None]:
    """Have what goes wrong in the block say what it was about."""
    try:
        yield
    except OciError as error:
        raise type(error)(f"{what}: {error}") from error


class RegistryRefused(OciError):
    """The registry wants a login, or does not allow this."""


class Damaged(OciError):
    """What came is not what its digest or size says, or has no form that is known."""


def quote_text(text: object) -> str:
    """Return what a stranger wrote as a message may have it: in one line, and not all of it."""
    return " ".join(str(text)[: 4 * TEXT_MAX].split())[:TEXT_MAX]
