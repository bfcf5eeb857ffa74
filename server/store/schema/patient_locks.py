"""Changes of tables in use: they give up soon when they get no lock, and are tried again."""

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from piecework.backoff import pause_after
from piecework.server.errors import MigrationRefused
from piecework.server.store.engine.connections import driver_error

T = TypeVar("T")

LOCK_S = 1.0
"""Whoever comes after a change that waits for a lock waits behind it: so the change waits no longer than this."""
SET_TIMEOUT = f"SET LOCAL lock_timeout = {round(LOCK_S * 1000)}"
TRIES = 60
PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
"""A random share of that is waited between tries, and of twice as much after each: others work meanwhile."""
NO_LOCK = ("55P03", "40P01")
"""What PostgreSQL says of a lock that was not given in time, and of a deadlock."""


def try_patiently(what: str, work: Callable[[], T], tries: int = TRIES) -> T:
    """Run ``work``, which leaves nothing when it fails, until it gets its locks; return its value.

    ``what`` names it in the message of MigrationRefused, which is raised when it never gets them.
    """
    pause = threading.Event()  # nothing sets it
    for failures in range(1, tries + 1):
        try:
            return work()
        except Exception as error:
            if not _lacked_a_lock(error):
                raise
            if failures == tries:
                raise MigrationRefused(
                    f"{what} did not get its locks in {tries} tries of {LOCK_S:g} s: something holds them for"
                    " long, such as a dump or an open session (pg_stat_activity shows it). Nothing is half"
                    " done: try again"
                ) from error
        pause.wait(random.random() * pause_after(failures, PAUSE_S, LONGEST_PAUSE_S))  # noqa: S311  # no secret
    raise AssertionError("the loop returns or raises")


def _lacked_a_lock(error: BaseException) -> bool:
    return getattr(driver_error(error), "sqlstate", None) in NO_LOCK
