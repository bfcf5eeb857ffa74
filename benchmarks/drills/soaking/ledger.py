"""The accounts of a soak: what was acknowledged, what came of it, and what was wrong."""

import threading
from collections import Counter
from collections.abc import Iterable

from piecework import Client
from piecework.client import Busy, ClientError, ServerUnreachable
from piecework.protocol.ids import Id
from piecework.protocol.states import JobState
from soaking.loops import SoakLoop

SHOWN = 5
PAUSE_S = 0.3


class Ledger:
    """Which jobs were acknowledged with which expected end, and which ends the feed told. For several threads."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._expected: dict[int, JobState] = {}
        self._ends: dict[int, JobState | None] = {}
        """None: it ended more than once."""
        self.wrong: list[str] = []
        """Wrong bytes, calls that failed, requests that were refused."""
        self.units: Counter[str] = Counter()
        """What was brought to its end, by kind of work."""

    def expect(self, jobs: Iterable[Id], state: JobState) -> None:
        """Note jobs that were acknowledged, and what is to become of them."""
        with self._change:
            self._expected.update((int(job), state) for job in jobs)

    def note_end(self, job: Id, state: JobState) -> None:
        """Note an end that the feed tells."""
        with self._change:
            self._ends[int(job)] = None if int(job) in self._ends else state
            self._change.notify_all()

    def note_wrong(self, what: str) -> None:
        """Note what should not have been."""
        with self._change:
            self.wrong.append(what)

    def note_unit(self, kind: str) -> None:
        """Note a piece of work that came to its end."""
        with self._change:
            self.units[kind] += 1

    @property
    def expected(self) -> int:
        with self._change:
            return len(self._expected)

    @property
    def unasked(self) -> int:
        """Jobs that ended and were never acknowledged: their answers were lost, or they are calls."""
        with self._change:
            return len(self._ends.keys() - self._expected.keys())

    def wait(self, timeout_s: float) -> bool:
        """Wait until all expected jobs have ended; tell whether they have."""
        with self._change:
            return self._change.wait_for(lambda: self._expected.keys() <= self._ends.keys(), timeout_s)

    def find_faults(self) -> list[str]:
        """Return what does not add up, in words."""
        with self._change:
            lost = self._expected.keys() - self._ends.keys()
            several = [job for job, state in self._ends.items() if state is None]
            other = [
                f"job {job} is {end}, not {self._expected[job]}"
                for job, end in self._ends.items()
                if job in self._expected and end not in {None, self._expected[job]}
            ]
            found = (
                [f"{len(lost)} acknowledged jobs have no outcome, such as {sorted(lost)[:SHOWN]}"] if lost else []
            )
            if several:
                found.append(f"{len(several)} jobs have more than one outcome, such as {several[:SHOWN]}")
            if other:
                found.append(f"{len(other)} jobs ended otherwise: {'; '.join(other[:SHOWN])}")
            if self.wrong:
                found.append(f"{len(self.wrong)} things went wrong: {'; '.join(self.wrong[:SHOWN])}")
            return found


class FeedReader(SoakLoop):
    """Reads the feed of events into a ledger, across all faults."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        super().__init__("feed reader", PAUSE_S)
        self._client = client
        self._ledger = ledger
        self._after = 0

    def take_turn(self) -> None:
        try:
            for event in self._client.events(after=self._after, follow=False):
                if event.state.is_final:
                    self._ledger.note_end(event.job, event.state)
                self._after = event.number
        except (Busy, ServerUnreachable):
            return
        except ClientError as error:
            self._ledger.note_wrong(f"the feed cannot be read on: {error}")
            self.stopping.set()
