"""How long to pause after failures: twice as long after each one in a row, up to a bound."""

from collections.abc import Callable


def pause_after(failures: int, first_s: float, longest_s: float) -> float:
    """Return how long to pause after so many failures in a row, seconds; ``first_s`` after the first of them."""
    return min(first_s * 2.0 ** min(failures - 1, 60), longest_s)


class Pauses:
    """Pauses that grow with each failure in a row, each a random share of its bound (full jitter).

    ``random`` returns numbers from 0 up to 1.
    """

    def __init__(self, random: Callable[[], float], first_s: float = 0.2, longest_s: float = 10.0) -> None:
        self._random = random
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0

    def next_s(self, error: Exception | None = None) -> float:
        """Return how many seconds to wait now; not less than the server asked for in ``error``."""
        self._failures += 1
        wait_s = self._random() * pause_after(self._failures, self._first_s, self._longest_s)
        asked_s = getattr(error, "retry_after_s", None)
        return max(wait_s, min(asked_s, self._longest_s)) if asked_s else wait_s

    def reset(self) -> None:
        """Start from the shortest pause again."""
        self._failures = 0
