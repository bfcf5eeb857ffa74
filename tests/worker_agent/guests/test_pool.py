"""Who gets which task."""

import pytest

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Usage
from piecework.worker_agent.guests.frames import Assign, Done, Halt, Logged, Ready, Recall, Returned
from piecework.worker_agent.guests.pool import TICK_S, Pool
from piecework.worker_agent.guests.slot import Order, Policy
from piecework.worker_agent.tasks import Result

QUICK_S = 0.05


class Scene:
    """A pool whose processes are ready, on a clock that the test moves."""

    def __init__(self, driver, slots, depth, **policy):
        self.driver = driver
        self.pool = Pool(Policy(grace_s=1.0, load_s=10.0, quick_s=QUICK_S, depth=depth, **policy), slots)
        self.failed_starts = []
        self.work()
        for slot in self.pool.slots:
            if self.driver.all[slot]:
                self.hear(slot, Ready(0))

    @property
    def now(self):
        return self.driver.now

    @property
    def processes(self):
        return [self.driver.all[slot][-1] for slot in self.pool.slots]

    def work(self, seconds=0.0):
        self.driver.now += seconds
        _, failed_starts = self.pool.work(self.now, self.pool.slots)
        self.failed_starts += failed_starts
        self.send()
        for slot, order in self.pool.take_orders():
            self.driver.obey(slot, order)

    def send(self):
        for slot in self.pool.slots:
            self.driver.send(slot)

    def hear(self, slot, *frames):
        slot.hear(frames, self.now)
        self.work()

    def add(self, *assignments):
        for assignment in assignments:
            self.pool.add([assignment], self.now)
            self.send()

    def finish(self, slot, key):
        self.hear(slot, Done(key, Result(usage=Usage())))

    def assigned(self):
        return [process.keys(Assign) for process in self.processes]


@pytest.fixture
def make_scene(driver):
    return lambda slots=2, depth=2: Scene(driver, slots, depth)


@pytest.fixture
def make_assignments(make_assignment):
    return lambda count: [make_assignment() for _ in range(count)]


def test_tasks_go_to_idle_slots_in_order(make_scene, make_assignments):
    scene = make_scene()
    scene.add(*make_assignments(3))
    assert scene.assigned() == [[1], [2]]
    assert (scene.pool.busy, scene.pool.waiting) == (2, 1)
    scene.finish(scene.pool.slots[1], 2)
    assert scene.assigned()[1] == [2, 3]


def test_quick_slots_get_tasks_ahead_of_their_turn(make_scene, make_assignments):
    scene = make_scene(slots=1, depth=3)
    scene.add(*make_assignments(6))
    assert scene.assigned() == [[1]]
    scene.finish(scene.pool.slots[0], 1)
    assert scene.assigned() == [[1, 2, 3, 4]]
    assert (scene.pool.busy, scene.pool.waiting) == (1, 4)


def test_tasks_that_come_one_by_one_go_ahead_together(make_scene, make_assignments):
    scene = make_scene(slots=1, depth=8)
    scene.add(*make_assignments(1))
    scene.finish(scene.pool.slots[0], 1)
    scene.add(*make_assignments(6))
    assert scene.assigned() == [[1, 2, 3]]
    scene.finish(scene.pool.slots[0], 2)
    assert scene.assigned() == [[1, 2, 3, 4, 5, 6, 7]]


def test_tasks_that_come_together_go_ahead_together(make_scene, make_assignments):
    scene = make_scene(slots=2, depth=8)
    first = make_assignments(2)
    scene.add(*first)
    scene.finish(scene.pool.slots[0], 1)
    scene.finish(scene.pool.slots[1], 2)
    assert len(scene.pool.add(make_assignments(20), scene.now)) == 2
    scene.send()
    assert [len(keys) for keys in scene.assigned()] == [9, 9]
    assert scene.pool.waiting == 18


def test_quick_slots_share_the_queue(make_scene, make_assignments):
    scene = make_scene(slots=2, depth=64)
    scene.add(*make_assignments(2))
    scene.finish(scene.pool.slots[0], 1)
    scene.finish(scene.pool.slots[1], 2)
    scene.add(*make_assignments(20))
    scene.work()
    assert [len(keys) for keys in scene.assigned()] == [11, 11]


def test_only_slots_that_were_heard_are_looked_at_between_ticks(make_scene):
    scene = make_scene(slots=2)
    first, _ = scene.pool.slots
    assert scene.pool.choose(scene.now, [first]) == scene.pool.slots
    assert scene.pool.choose(scene.now, [first]) == [first]
    assert scene.pool.choose(scene.now, []) == scene.pool.slots
    assert scene.pool.choose(scene.now + TICK_S, [first]) == scene.pool.slots


def test_slow_slots_get_no_task_ahead(make_scene, make_assignments):
    scene = make_scene(slots=1)
    scene.add(*make_assignments(4))
    scene.work(1.0)
    scene.finish(scene.pool.slots[0], 1)
    assert scene.assigned() == [[1, 2]]


def test_task_stuck_behind_a_slow_one_goes_to_an_idle_slot(make_scene, make_assignments):
    scene = make_scene()
    scene.add(*make_assignments(2))
    scene.finish(scene.pool.slots[0], 1)
    scene.add(*make_assignments(2))
    assert scene.assigned() == [[1, 3, 4], [2]]
    scene.work(QUICK_S)
    assert [process.keys(Recall) for process in scene.processes] == [[], []]
    scene.finish(scene.pool.slots[1], 2)
    assert scene.processes[0].keys(Recall) == [4]
    scene.hear(scene.pool.slots[0], Returned(4))
    assert scene.assigned() == [[1, 3, 4], [2, 4]]


def test_tasks_of_a_dead_process_come_first_again(make_scene, make_assignments):
    scene = make_scene(slots=1, depth=3)
    scene.add(*make_assignments(1))
    scene.finish(scene.pool.slots[0], 1)
    tasks = make_assignments(4)
    scene.add(*tasks)
    scene.work()
    assert scene.assigned() == [[1, 2, 3, 4]]
    scene.pool.take_ended()
    scene.pool.slots[0].lost()
    scene.work()
    scene.work()
    scene.hear(scene.pool.slots[0], Ready(0))
    assert [task for task, _ in scene.pool.take_ended()] == [tasks[0]]
    assert scene.assigned() == [[3]]
    assert scene.pool.waiting == 2


def test_queued_task_is_cancelled_at_once(make_scene, make_assignments):
    scene = make_scene(slots=1)
    tasks = make_assignments(2)
    scene.add(*tasks)
    assert scene.pool.cancel(lambda task: task is tasks[1], scene.now)
    scene.send()
    ((task, end),) = scene.pool.take_ended()
    assert (task, end.cancelled) == (tasks[1], True)
    assert scene.pool.next_due_at(scene.now) > scene.now


def test_running_task_is_halted(make_scene, make_assignments):
    scene = make_scene()
    tasks = make_assignments(2)
    scene.add(*tasks)
    assert scene.pool.cancel(lambda task: task is tasks[1], scene.now)
    scene.send()
    assert scene.processes[1].keys(Halt) == [2]


def test_what_is_not_there_cannot_be_cancelled(make_scene, make_assignments):
    scene = make_scene()
    scene.add(*make_assignments(3))
    assert not scene.pool.cancel(lambda task: task.key == 9, scene.now)


def test_held_pool_hands_out_nothing(make_scene, make_assignments):
    scene = make_scene()
    scene.pool.holding = True
    tasks = make_assignments(2)
    scene.add(*tasks)
    scene.work()
    assert scene.assigned() == [[], []]
    assert scene.pool.take_queue() == tasks
    assert scene.pool.waiting == 0


def test_recalled_tasks_can_be_taken(make_scene, make_assignments):
    scene = make_scene(slots=1)
    scene.add(*make_assignments(1))
    scene.finish(scene.pool.slots[0], 1)
    tasks = make_assignments(2)
    scene.add(*tasks)
    scene.pool.holding = True
    scene.pool.recall()
    scene.send()
    assert scene.pool.is_recalling
    scene.hear(scene.pool.slots[0], Returned(3))
    assert not scene.pool.is_recalling
    assert scene.pool.take_queue() == [tasks[1]]


def test_log_is_read_once(make_scene, make_assignments):
    scene = make_scene()
    (task,) = make_assignments(1)
    scene.add(task)
    scene.hear(scene.pool.slots[0], Logged(1, b"a", 0), Logged(1, b"b", 10))
    update = task.read_log()
    assert (update.job, update.lease, update.log, update.offset) == (*task.leased[:2], b"b", 10)
    assert task.read_log() is None


def test_task_fails_when_no_process_starts(driver, make_assignments):
    driver.start_error = "no such interpreter"
    scene = Scene(driver, 1, 2)
    first, second = make_assignments(2)
    scene.add(first, second)
    for _ in range(2):
        assert scene.pool.take_ended() == []
        scene.work(100)
    scene.work()
    ((task, end),) = scene.pool.take_ended()
    assert (task, end.kind) == (first, ErrorKind.WORKER)
    assert "no such interpreter" in end.message
    assert scene.pool.waiting == 1
    assert scene.failed_starts == [("no such interpreter", number) for number in (1, 2, 3)]


def test_failing_start_costs_nothing_while_other_slots_work(make_scene, make_assignment):
    scene = make_scene()
    scene.add(*[make_assignment(timeout_s=10_000) for _ in range(3)])
    scene.pool.slots[1].lost()
    scene.driver.start_error = "no memory"
    for _ in range(6):
        scene.work(100)
    assert len(scene.failed_starts) >= 3
    assert [task.key for task, _ in scene.pool.take_ended()] == [2]


def test_so_many_processes_start_at_a_time(driver):
    pool = Pool(Policy(starts=1), 3)
    pool.work(0.0, pool.slots)
    ((first, _),) = pool.take_orders()
    first.started(0.0)
    pool.work(1.0, pool.slots)
    assert pool.take_orders() == []
    first.hear([Ready(0)], 2.0)
    pool.work(2.0, pool.slots)
    ((second, _),) = pool.take_orders()
    second.failed("no memory", 2.0)
    pool.work(2.1, pool.slots)
    assert pool.take_orders() == []
    pool.work(3.0, pool.slots)
    assert pool.take_orders() == [(second, Order.START)]


def test_shut_down_reports_everything(make_scene, make_assignments):
    scene = make_scene()
    scene.add(*make_assignments(5))
    scene.pool.shut_down()
    assert [end.kind for _, end in scene.pool.take_ended()] == [ErrorKind.WORKER] * 5
    assert (scene.pool.busy, scene.pool.waiting) == (0, 0)


def test_what_must_not_go_ahead_waits_for_a_free_process(make_scene, make_assignment):
    scene = make_scene(slots=1, depth=8)
    scene.add(make_assignment())
    scene.finish(scene.pool.slots[0], 1)
    scene.add(make_assignment(goes_ahead=False), make_assignment(goes_ahead=False), make_assignment())
    assert scene.assigned() == [[1, 2]]
    scene.finish(scene.pool.slots[0], 2)
    assert scene.assigned() == [[1, 2, 3, 4]]


def test_what_waits_behind_a_slow_task_is_asked_back_where_that_is_wanted(driver, make_assignments):
    scene = Scene(driver, 1, 2, always_recalls=True)
    scene.add(*make_assignments(1))
    scene.finish(scene.pool.slots[0], 1)
    scene.add(*make_assignments(3))
    assert scene.assigned() == [[1, 2, 3]]
    scene.work(QUICK_S)
    assert scene.processes[0].keys(Recall) == [3]
    scene.hear(scene.pool.slots[0], Returned(3))
    assert [task.key for task in scene.pool.queue] == [3, 4]


def test_draining_pool_ends_processes_when_nothing_is_left_to_do(make_scene, make_assignments):
    scene = make_scene(slots=2, depth=1)
    scene.add(*make_assignments(3))
    scene.pool.draining = True
    scene.work()
    assert not scene.pool.is_gone
    scene.finish(scene.pool.slots[0], 1)
    scene.finish(scene.pool.slots[1], 2)
    assert not scene.pool.is_gone
    scene.finish(scene.pool.slots[0], 3)
    assert scene.pool.is_gone
    scene.work(100)
    assert scene.pool.take_orders() == []
    scene.add(*make_assignments(1))
    scene.work()
    *_, (task, end) = scene.pool.take_ended()
    assert (task.key, end.kind) == (4, ErrorKind.WORKER)
