"""The outbox alone, and the lease table around it through lives in any order."""

from hypothesis import settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from tries import tries

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, LeaseRef, Outcome
from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.leases.lease_table import Demand, LeaseTable
from piecework.worker_agent.jobs.leases.outbox import BATCH_BYTES, BATCH_MAX, Outbox, ref_of


def ref(number):
    return LeaseRef(job=Id(number), lease="lease")


def outcome(held, **fields):
    return Outcome(job=held.job, lease=held.lease, state=JobState.FINISHED, **fields)


def test_batch_is_bounded_in_number_and_bytes():
    outbox = Outbox()
    for number in range(BATCH_MAX + 1):
        outbox.put(outcome(ref(number)))
    assert len(outbox.take()) == BATCH_MAX
    for number in range(4):
        outbox.put(outcome(ref(1000 + number), output=Content(raw=bytes(BATCH_BYTES // 2)), log=b"log"))
    assert [o.job for o in outbox.take()] == [BATCH_MAX, 1000, 1001]


def test_outcome_larger_than_a_batch_goes_alone():
    outbox = Outbox()
    outbox.put(outcome(ref(1), log=bytes(2 * BATCH_BYTES)))
    outbox.put(outcome(ref(2)))
    assert [o.job for o in outbox.take()] == [1]


class LedgerMachine(RuleBasedStateMachine):
    """Leases through their lives in any order, against a model of three sets."""

    leases = Bundle("leases")
    batches = Bundle("batches")

    def __init__(self):
        super().__init__()
        self.lease_table = LeaseTable()
        self.open, self.waiting, self.sent = set(), set(), set()
        self.delivered = []
        self.numbers = iter(range(1, 10**6))

    @rule(target=leases, count=st.integers(1, 4))
    def contract(self, count):
        refs = [ref(next(self.numbers)) for _ in range(count)]
        assert self.lease_table.admit(refs) == set(refs)
        self.open |= set(refs)
        return multiple(*refs)

    @rule(held=leases)
    def end(self, held):
        assert bool(self.lease_table.end(outcome(held))) == (held in self.open)
        if held in self.open:
            self.open.remove(held)
            self.waiting.add(held)

    @rule(held=leases)
    def lose(self, held):
        assert self.lease_table.forget(held) == (held in self.open)
        self.open.discard(held)

    def take(self, outcomes):
        refs = {ref_of(o) for o in outcomes}
        assert len(refs) == len(outcomes), "an outcome was handed out twice in one batch"
        assert refs <= self.waiting, "an outcome was handed out that was not waiting"
        self.waiting -= refs
        self.sent |= refs
        return outcomes

    @rule(target=batches, capacity=st.integers(1, 9))
    def exchange(self, capacity):
        found = self.lease_table.next_contract(lambda: Demand(capacity, slots=capacity), 0.0)
        if found is None:
            assert not self.waiting
            assert len(self.open) >= capacity
            return []
        assert found.room == max(0, capacity - len(self.open))
        self.lease_table.end_poll()
        return self.take(found.outcomes)

    @rule(batch=consumes(batches))
    def answer(self, batch):
        self.lease_table.settle(map(ref_of, batch))
        self.delivered += map(ref_of, batch)
        self.sent -= set(map(ref_of, batch))

    @rule(batch=consumes(batches))
    def lose_answer(self, batch):
        self.lease_table.put_back(batch)
        self.sent -= set(map(ref_of, batch))
        self.waiting |= set(map(ref_of, batch))

    @invariant()
    def holds_exactly_what_is_not_settled(self):
        assert set(self.lease_table.refs()) == self.open | self.waiting | self.sent
        assert len(self.lease_table.refs()) == len(self.open) + len(self.waiting) + len(self.sent)
        assert set(self.lease_table.open_refs()) == self.open

    @invariant()
    def delivers_each_outcome_once(self):
        assert len(set(self.delivered)) == len(self.delivered)


LedgerMachine.TestCase.settings = settings(max_examples=tries(25), stateful_step_count=30, deadline=None)
TestLedger = LedgerMachine.TestCase
