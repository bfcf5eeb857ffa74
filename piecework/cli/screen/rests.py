"""Telling that a list has more than what is shown."""

from piecework.cli.failures import warn

COUNTED_MAX = 100_000
"""The server counts no further."""


def tell_rest(shown: int, total: int | None = None) -> None:
    """Say on stderr that a list is longer than what is shown of it; ``total`` is how long, where that is known."""
    if not total:
        warn(f"shows {shown:,} of more: --limit shows further ones")
    elif total >= COUNTED_MAX:
        warn(f"shows {shown:,} of {COUNTED_MAX:,} or more: --limit shows further ones")
    else:
        warn(f"shows {shown:,} of {total:,}: --limit {total} shows all")
