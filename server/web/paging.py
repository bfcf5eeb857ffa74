"""Lists in pages: newest first, a cursor leads to the next."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import UNSET

from piecework.protocol.ids import ID_MAX, Id
from piecework.protocol.messages import Maybe
from piecework.server.errors import InvalidParameter
from piecework.server.web.endpoint import Query

T = TypeVar("T")
DEFAULT_LIMIT = 100


class PageQuery(Query, kw_only=True):
    """Which page of a list."""

    limit: int = DEFAULT_LIMIT
    """Rows at most."""
    cursor: Id | None = None
    """``next`` of the page before; the first page needs none."""

    def read(self, list_page: Callable[..., Sequence[T]], page_max: int) -> tuple[Sequence[T], bool]:
        """Return the rows of the page and whether there are more. Raises InvalidParameter for a wrong limit."""
        if not 1 <= self.limit <= page_max:
            raise InvalidParameter(f"limit is {self.limit}, but must lie between 1 and {page_max}")
        rows = list_page(before=self.cursor or ID_MAX, limit=self.limit + 1)
        return rows[: self.limit], len(rows) > self.limit


def next_cursor(ids: Sequence[int], more: bool) -> Maybe[str]:
    """Return the cursor of the page after this one; unset when there is none."""
    return str(ids[-1]) if more else UNSET
