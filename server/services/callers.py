"""Who asks what a thread answers: whether the caller is still there, the web server tells who wants to know."""

import threading
from collections.abc import Callable

Watch = Callable[[Callable[[], object]], object]
"""Has a function called once, in some thread, when the caller has gone, or has its answer."""

_this_thread = threading.local()


def note_caller(watch: Watch | None) -> None:
    """Note what tells of the caller of the request that this thread answers from now on.

    None: nothing does, or the request cannot be answered before what it waits for has come.
    """
    _this_thread.watch = watch


def current_caller() -> Watch | None:
    """Return what tells of the caller of the request that this thread answers."""
    watch: Watch | None = getattr(_this_thread, "watch", None)
    return watch
