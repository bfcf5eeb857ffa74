"""What the groups of calls share."""

from piecework.client.transport import Transport
from piecework.protocol.ids import Id

AnyId = int | str
"""An id as callers may write it: an ``Id``, a number, or its decimal string."""


class Calls:
    """A group of calls about one kind of thing; ``Client`` is all groups together."""

    transport: Transport


def path_id(value: AnyId) -> Id:
    """Return an id for use in a path. Raises ValueError when it is not one."""
    return Id.parse(value)
