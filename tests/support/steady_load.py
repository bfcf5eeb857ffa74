"""Submitters that go on and on while servers come and go, and what must be true of their jobs in the end."""

import itertools
import threading
import time
from types import TracebackType
from typing import Self

from evidence import expect
from guests import guest
from patience import until

from piecework import Client
from piecework.protocol.ids import Id
from piecework.server.store.engine.database import Database

WITH_THE_CLIENTS_TRIES = 60
PAUSE_S = 0.15
"""After each job; more jobs than that only keep servers from starting."""
END_S = 180.0


class SteadyLoad:
    """One submitter for each URL, which waits for each job and compares its output; leaving ``with`` ends them."""

    def __init__(self, urls: list[str]) -> None:
        self.outputs: dict[Id, bytes] = {}
        self.failures: list[Exception] = []
        self.longest_s = 0.0
        self._numbers = itertools.count()
        self._change = threading.Lock()
        self._stop = threading.Event()
        with Client(urls[0], attempts=WITH_THE_CLIENTS_TRIES) as client:
            self._lambda = client.create_lambda(guest("uppercase"))
        self._threads = [threading.Thread(target=self._submit, args=(url,)) for url in urls]

    def _submit(self, url: str) -> None:
        try:
            with Client(url, attempts=WITH_THE_CLIENTS_TRIES) as client:
                while not self._stop.wait(PAUSE_S):
                    with self._change:
                        text = b"job %d" % next(self._numbers)
                    began = time.monotonic()
                    job = client.submit(self._lambda, text)
                    took_s = time.monotonic() - began
                    output = client.result(job, END_S)
                    with self._change:
                        self.longest_s = max(self.longest_s, took_s)
                        self.outputs[job] = output
                    expect(output == text.upper(), f"the output of job {job} belongs to its input")
        except Exception as error:  # noqa: BLE001  # the test shows it
            self.failures.append(error)

    def go_on(self, jobs: int = 8) -> None:
        """Return when so many jobs more have ended, from here on."""
        wanted = len(self.outputs) + jobs
        until(lambda: bool(self.failures) or len(self.outputs) >= wanted, END_S, 0.02)
        assert self.failures == []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(END_S)

    def check(self, database: Database) -> None:
        """Compare what is stored with what was acknowledged: nothing lost, nothing twice, one outcome each."""
        assert self.failures == []
        ended = (
            "SELECT job_id FROM events WHERE state IN ('Finished', 'Failed', 'Cancelled')"
            " AND substr(detail, 1, 8) != 'refused:'"
        )
        with database.read() as connection:
            states = dict(connection.exec_driver_sql("SELECT id, state FROM jobs").all())
            outcomes = sorted(connection.exec_driver_sql(ended).scalars())
        jobs = sorted(map(int, self.outputs))
        assert states == dict.fromkeys(jobs, "Finished")
        assert outcomes == jobs
