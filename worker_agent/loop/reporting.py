"""The reporter: hands in outcomes while the contract loop is inside a long poll, and only then."""

import threading

from piecework.client import ClientError
from worker_agent.loop.courier import Courier
from worker_agent.loop.ledger import Ledger
from worker_agent.loop.link import Backoff

IDLE_S = 1.0
"""How often the loop looks whether it is to end."""


class Reporter:
    """Sees to it that no outcome waits for the end of a poll."""

    def __init__(self, courier: Courier, ledger: Ledger, backoff: Backoff, stop: threading.Event) -> None:
        self._courier = courier
        self._ledger = ledger
        self._backoff = backoff
        self._stop = stop

    def step(self) -> None:
        """Hand in the outcomes that have nothing to ride on, if there are any."""
        outcomes = self._ledger.take_during_poll(IDLE_S)
        if not outcomes:
            return
        try:
            self._courier.finish(outcomes)
        except ClientError as error:
            self._stop.wait(self._backoff.next_s(error))
        else:
            self._backoff.reset()
