"""Whatever happens in whatever order: no task is lost, none is told twice, none is given to a dead process.

The pool is driven by chance against guest processes that are modelled: what they were sent, began and ended, what
they said of it, and when they died. Afterwards everything is let come to its end.
"""

from collections import OrderedDict, deque

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tries import tries

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from piecework.worker_agent.guests.assignment import Assignment, Loss, ProcessEnd
from piecework.worker_agent.guests.frames import Assign, Done, Halt, Kept, Loaded, Loading, Ready, Recall, Returned
from piecework.worker_agent.guests.pool import Pool
from piecework.worker_agent.guests.slot import Order, Phase, Policy, Rehearsal
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.tasks import Result, Task

TASK = Task(runtime="wasi", codex="/code", checksum="ab", bounds=Bounds(timeout_s=10.0))
REHEARSALS = 10**6
"""Keys of rehearsals begin here."""
SLOTS = st.integers(0, 1)


class ModelledProcess:
    """A guest process as far as it matters: it obeys like a real one, and is heard when the test says so."""

    def __init__(self):
        self.waiting = OrderedDict()
        self.current = None
        self.began = 0
        """The key of the task that it began last."""
        self.said = deque()
        """Not heard yet."""
        self.alive = True
        self.ready = False

    def take(self, frame):
        if not self.alive:
            return  # nobody knows yet
        match frame:
            case Assign():
                assert self.ready
                self.waiting[frame.key] = frame
            case Recall() if self.waiting.pop(frame.key, None):
                self.said.append(Returned(frame.key))
            case Recall():
                self.said.append(Kept(frame.key))
            case Halt() if self.waiting.pop(frame.key, None):
                self.said.append(Returned(frame.key))
            case Halt() if self.current == frame.key:
                self.finish(cancelled=True)

    def begin(self):
        if self.ready and self.current is None and self.waiting:
            self.current, _ = self.waiting.popitem(last=False)
            self.began = self.current
            return self.current
        return None

    def finish(self, wall_s=0.001, error=None, *, cancelled=False):
        if self.current is not None:
            result = Result(usage=Usage(wall_s=wall_s), error=error, cancelled=cancelled)
            self.said.append(Done(self.current, result))
            self.current = None


class World(RuleBasedStateMachine):
    """A pool of two slots, and all that can happen around it."""

    policy = Policy(depth=3)

    def __init__(self):
        super().__init__()
        self.now, self.keys, self.rehearsals = 0.0, 0, REHEARSALS
        self.pool = Pool(self.make_policy(), 2)
        self.processes, self.orders = {}, []
        self.tasks, self.ended, self.taken = {}, {}, set()
        self.begun, self.heard_done, self.died_in = [], set(), set()
        self.work()

    def make_policy(self):
        return self.policy

    def work(self):
        self.pool.work(self.now, self.pool.slots)
        self.orders += self.pool.take_orders()
        for slot in self.pool.slots:
            frames, slot.outbox = slot.outbox, []
            for frame in frames:
                self.processes[slot].take(frame)
        for task, end in self.pool.take_ended():
            assert task.key not in self.ended
            assert task.key not in self.taken
            self.ended[task.key] = end

    def process(self, place):
        return self.processes.get(self.pool.slots[place])

    # What owners do

    @rule(count=st.integers(1, 4), goes_ahead=st.booleans())
    def add(self, count, goes_ahead):
        tasks = [
            Assignment(self.keys + n, Assign(self.keys + n, TASK, ""), goes_ahead) for n in range(1, count + 1)
        ]
        self.keys += count
        self.tasks |= {task.key: task for task in tasks}
        self.pool.add(tasks, self.now)
        self.work()

    @rule(key=st.integers(1, 12))
    def cancel(self, key):
        found = self.pool.cancel(lambda task: task.key == key, self.now)
        assert found == (key in self.tasks and key not in self.ended and key not in self.taken)
        self.work()

    @rule()
    def take_back(self):
        self.pool.holding = True
        self.pool.recall()
        self.work()

    @precondition(lambda self: self.pool.holding)
    @rule()
    def take_queue(self):
        self.taken |= {task.key for task in self.pool.take_queue()}
        self.pool.holding = False
        self.work()

    @rule(seconds=st.sampled_from([0.001, 0.03, 1.0, 13.0, 40.0]))
    def pass_time(self, seconds):
        self.now += seconds
        self.work()

    # What the driver does

    @precondition(lambda self: self.orders)
    @rule(works=st.sampled_from([True, True, True, False]))
    def obey(self, works):
        slot, order = self.orders.pop(0)
        if order is Order.START:
            assert slot not in self.processes
            if works:
                self.processes[slot] = ModelledProcess()
                slot.started(self.now)
            else:
                slot.failed("no memory", self.now)
        else:
            process = self.processes.pop(slot)
            assert order is Order.KILL or not process.alive
            self.died_in.add(process.began)
            slot.ended(ProcessEnd("SIGKILL", "", process.began), self.now)
        self.work()

    @rule(place=SLOTS, count=st.integers(1, 9))
    def hear(self, place, count):
        process, slot = self.process(place), self.pool.slots[place]
        if process is not None and slot.phase is not Phase.ENDING:
            frames = [process.said.popleft() for _ in range(min(count, len(process.said)))]
            self.heard_done |= {frame.key for frame in frames if isinstance(frame, Done)}
            slot.hear(frames, self.now)
            if not process.alive and not process.said:
                slot.lost()
            self.work()

    # What processes do

    @rule(place=SLOTS)
    def get_ready(self, place):
        process = self.process(place)
        if process is not None and process.alive and not process.ready:
            process.ready = True
            process.said.append(Ready(0))

    @rule(place=SLOTS, loads=st.booleans())
    def begin(self, place, loads):
        process = self.process(place)
        key = process.begin() if process is not None and process.alive else None
        if key is not None and key < REHEARSALS:
            self.begun.append(key)
            self.check_repetition(key)
        if key is not None and loads:
            process.said.extend([Loading(key), Loaded(key)])

    @rule(place=SLOTS, wall_s=st.sampled_from([0.0001, 0.001, 1.0]), fails=st.sampled_from([False, False, True]))
    def finish(self, place, wall_s, fails):
        process = self.process(place)
        if process is not None and process.alive:
            process.finish(wall_s, JobError(kind=ErrorKind.TRAP, message="no") if fails else None)

    @rule(place=SLOTS, says=st.integers(0, 9))
    def die(self, place, says):
        process = self.process(place)
        if process is not None:
            process.alive = process.ready = False
            while len(process.said) > says:
                process.said.pop()

    # What must hold

    def check_repetition(self, key):
        assert key not in self.heard_done
        assert key not in self.died_in

    @invariant()
    def every_task_is_somewhere_once(self):
        queued = [task.key for task in self.pool.queue]
        held = [task.key for slot in self.pool.slots for task in slot.tasks if task.key < REHEARSALS]
        assert sorted([*queued, *held, *self.ended, *self.taken]) == sorted(self.tasks)

    @invariant()
    def slots_and_processes_agree(self):
        for slot in self.pool.slots:
            ordered = [order for each, order in self.orders if each is slot]
            assert len(ordered) <= 1
            assert slot.is_ready == (slot.phase is Phase.READY)
            assert len(slot.tasks) <= self.policy.depth
            if slot.phase is Phase.ENDING:
                assert ordered in ([Order.KILL], [Order.BURY])
            elif slot.phase is Phase.NONE:
                assert slot not in self.processes
                assert not ordered
            if slot.phase in {Phase.NONE, Phase.ENDING}:
                assert not slot.outbox
        limit = self.policy.starts
        assert sum(slot.starts for slot in self.pool.slots) <= limit

    def teardown(self):
        """Let everything come to its end."""
        self.pool.holding = False
        for _ in range(200):
            while self.orders:
                self.obey(works=True)
            for place in range(2):
                self.get_ready(place)
                self.begin(place, loads=False)
                self.finish(place, 0.001, fails=False)
                self.hear(place, 99)
            self.pass_time(1.0)
        assert self.pool.waiting == self.pool.busy == 0
        assert sorted([*self.ended, *self.taken]) == sorted(self.tasks)
        self.pool.draining = True
        self.work()
        while self.orders:
            self.obey(works=True)
        assert self.pool.is_gone
        assert not self.processes


class JobsWorld(World):
    """As for jobs: what was ended, and not said, is run again."""


class CallsWorld(World):
    """As for calls: what may have begun is never begun again, and a process rehearses first."""

    policy = Policy(depth=2, quick_s=0.005, starts=1, broken_after=10**9, repeats=False, always_recalls=True)

    def make_policy(self):
        rehearsal = Rehearsal(self.rehearse, lambda error: error.message)
        return Policy(
            depth=2,
            quick_s=0.005,
            starts=1,
            broken_after=10**9,
            repeats=False,
            always_recalls=True,
            rehearsal=rehearsal,
        )

    def rehearse(self):
        self.rehearsals += 1
        return Assignment(self.rehearsals, Assign(self.rehearsals, TASK, ""))

    def check_repetition(self, key):
        assert self.begun.count(key) == 1

    @invariant()
    def what_must_not_go_ahead_does_not(self):
        for slot in self.pool.slots:
            assert all(task.goes_ahead for task in list(slot.tasks)[1:])


@pytest.mark.slow
@pytest.mark.parametrize("world", [JobsWorld, CallsWorld])
def test_no_task_is_lost_or_told_twice_whatever_happens(world):
    run_state_machine_as_test(
        world,
        settings=settings(
            max_examples=tries(60), stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.parametrize("world", [JobsWorld, CallsWorld])
def test_shut_down_tells_of_every_task_and_leaves_no_process(world):
    for steps in range(12):
        scene = world()
        scene.add(5, goes_ahead=True)
        for step in range(steps):
            if scene.orders:
                scene.obey(works=True)
            scene.get_ready(step % 2)
            scene.hear(step % 2, 1)
            scene.begin(step % 2, loads=True)
        scene.pool.shut_down()
        scene.work()
        while scene.orders:
            scene.obey(works=True)
        assert set(scene.ended) == set(scene.tasks)
        assert all(isinstance(end, Loss) for end in scene.ended.values())
        assert scene.pool.is_gone
        assert not scene.processes
