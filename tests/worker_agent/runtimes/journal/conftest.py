"""Guests that run once with the world, and again with nothing but their journals."""

import msgspec
import pytest

from piecework.receipts.journals import JournalReader
from piecework.worker_agent.guests.work.workbench import NO_RULES

COMPARED = ("output", "error", "exit_code", "log")


class Recording:
    """A recorded run, which can be replayed."""

    def __init__(self, run, code, rules, fields):
        self.run, self.code, self.fields = run, code, fields
        self.done = run(code, rules, record=True, **fields)

    @property
    def entries(self):
        return [*JournalReader(self.done.journal).read()]

    @property
    def kinds(self):
        return [entry.kind for entry in self.entries]

    def replay(self, journal=None, **changes):
        """Run it again where nothing is granted and nobody is to be reached."""
        fields = {**self.fields, "grants": None, "journal": journal or self.done.journal, **changes}
        return self.run(self.code, NO_RULES, record=True, **fields)

    def check(self, **changes):
        """Replay it; it must be identical."""
        again = self.replay(**changes)
        assert again.difference is None, again.difference.message
        assert {name: getattr(again, name) for name in COMPARED} == {
            name: getattr(self.done, name) for name in COMPARED
        }
        assert again.usage.fuel == self.done.usage.fuel
        assert again.usage.digests == self.done.usage.digests
        assert again.journal is None
        return again


@pytest.fixture
def record(run):
    """Return a function that records a run."""

    def record_run(code, rules=NO_RULES, *, seed=b"a seed", **fields):
        return Recording(run, code, rules, {"seed": seed, **fields})

    return record_run


@pytest.fixture
def change():
    """Return a function that returns a journal with another entry in some place."""

    def change_journal(journal, place, **fields):
        from piecework.receipts.journals import End, Head, write_frame

        entries = [*JournalReader(journal).read()]
        entries[place] = msgspec.structs.replace(entries[place], **fields)
        frames = [Head(), *entries, End(len(entries))]
        return b"".join(map(write_frame, frames))

    return change_journal
