"""Ids as they travel: 64-bit signed integers, written as decimal strings."""

from typing import Literal, Self

ID_MAX = 2**63 - 1
"""The largest id: ids are signed 64-bit integers (protocol page, section 1)."""

IdKind = Literal["job", "group", "lambda", "worker", "namespace", "schedule", "webhook", "delivery", "data"]
"""What has an id that people may give by its end. ``data`` is a blob."""


class Id(int):
    """One id of the space that blobs, lambdas, jobs and workers share.

    An ``Id`` is an ``int`` inside and a decimal string on the wire. ``Id(0)`` means "none":
    no script as a codex, no output as an output.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read an id from a wire value: a decimal string or an integer.

        Raises ValueError, with a message for the sender, for everything else.
        """
        if isinstance(value, str) and value.isascii() and value.strip().isdecimal() and len(value) <= 20:
            number = int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        else:
            raise ValueError(f"an id is a decimal number as a string, not {str(value)[:40]!r}")
        if not 0 <= number <= ID_MAX:
            raise ValueError(f"an id lies between 0 and {ID_MAX}, {number} does not")
        return cls(number)


NO_ID = Id(0)
"""The id that stands for no object."""
