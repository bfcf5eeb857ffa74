"""What a command ends with whose guest ended itself."""

STATUSES = 256
"""A process ends with a number below this; a guest may name any of 32 bits."""


def exit_status(code: int) -> int:
    """Return the exit status for a guest's exit code: its last byte, or 1 where that were 0."""
    return code % STATUSES or min(code, 1)
