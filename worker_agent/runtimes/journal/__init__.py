"""The journal of a run: what came to a guest from outside, in the order in which it asked for it.

A recorded run writes it; a replay takes from it what the guest asks for, and asks nobody.
"""

from collections.abc import Callable
from typing import Protocol


class Journal(Protocol):
    """Stands between a guest and all that is not the same in each run. Used by the thread that runs the guest."""

    def through(self, kind: str, asked: bytes, ask: Callable[[], bytes]) -> bytes:
        """Return what comes of a question to the world, and note it; or what came of it then, without asking.

        ``kind`` says who is asked, ``asked`` what, ``ask`` does it. Raises what ``ask`` raises, and whatever ends
        a guest that does not ask for what it asked for then.
        """


def doing(act: Callable[[], object]) -> Callable[[], bytes]:
    """Return a question that is asked for its effect: nothing is answered."""

    def ask() -> bytes:
        act()
        return b""

    return ask
