"""Where a replay was not like its record."""

import msgspec


class CallDifference(msgspec.Struct, array_like=True, frozen=True):
    """Where a guest did not do what its record says."""

    call: int
    """Which of its questions to the world, from 1."""
    byte: int | None
    """The first byte of the question that differs; None: it asked somebody else, or for more or less."""
    message: str
    """For people."""
    is_cut: bool = False
    """The journal was full there: nothing differs."""
    asked: str | None = None
    """What the guest asked for; None: it asked for less than its record has."""
    recorded: str | None = None
    """What the record has in its place; None: nothing more."""
