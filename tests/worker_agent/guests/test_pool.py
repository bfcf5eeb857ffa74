"""Who gets which task."""

import pytest

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Usage
from worker_agent.guests.frames import Assign, Done, Halt, Logged, Ready, Recall, Returned
from worker_agent.guests.pool import BROKEN_AFTER, TICK_S, Pool
from worker_agent.guests.slot import QUICK_S, News, Patience, Slot
from worker_agent.tasks import Result


class Scene:
    """A pool whose processes are ready, on a clock that the test moves."""

    def __init__(self, make_process, slots, depth):
        self.now, self.processes, news = 1000.0, [], News()

        def start():
            self.processes.append(make_process())
            self.processes[-1].reports.append(Ready(0))
            return self.processes[-1]

        patience = Patience(grace_s=1.0, load_s=10.0)
        self.pool = Pool([Slot(start, news, patience) for _ in range(slots)], news, depth=depth)
        self.work()
        self.work()

    def work(self, seconds=0.0):
        self.now += seconds
        self.pool.work(self.now)

    def add(self, *assignments):
        for assignment in assignments:
            self.pool.add([assignment], self.now)

    def finish(self, process, key):
        process.reports.append(Done(key, Result(usage=Usage())))
        self.work()

    def assigned(self):
        return [process.keys(Assign) for process in self.processes]


@pytest.fixture
def make_scene(make_process):
    return lambda slots=2, depth=2: Scene(make_process, slots, depth)


@pytest.fixture
def make_assignments(make_assignment):
    return lambda count: [make_assignment() for _ in range(count)]


def test_tasks_go_to_idle_slots_in_order(make_scene, make_assignments):
    scene = make_scene()
    scene.add(*make_assignments(3))
    assert scene.assigned() == [[1], [2]]
    assert (scene.pool.busy, scene.pool.waiting) == (2, 1)
    scene.finish(scene.processes[1], 2)
    assert scene.assigned()[1] == [2, 3]


def test_quick_slots_get_tasks_ahead_of_their_turn(make_scene, make_assignments):
    scene = make_scene(slots=1, depth=3)
    scene.add(*make_assignments(6))
    assert scene.assigned() == [[1]]
    scene.finish(scene.processes[0], 1)
    assert scene.assigned() == [[1, 2, 3, 4]]
    assert (scene.pool.busy, scene.pool.waiting) == (1, 4)


def test_tasks_that_come_one_by_one_go_ahead_together(make_scene, make_assignments):
    scene = make_scene(slots=1, depth=8)
    scene.add(*make_assignments(1))
    scene.finish(scene.processes[0], 1)
    scene.add(*make_assignments(6))
    assert scene.assigned() == [[1, 2, 3]]
    scene.finish(scene.processes[0], 2)
    assert scene.assigned() == [[1, 2, 3, 4, 5, 6, 7]]


def test_tasks_that_come_together_go_ahead_together(make_scene, make_assignments):
    scene = make_scene(slots=2, depth=8)
    first = make_assignments(2)
    scene.add(*first)
    scene.finish(scene.processes[0], 1)
    scene.finish(scene.processes[1], 2)
    assert len(scene.pool.add(make_assignments(20), scene.now)) == 2
    assert [len(keys) for keys in scene.assigned()] == [9, 9]
    assert scene.pool.waiting == 18


def test_quick_slots_share_the_queue(make_scene, make_assignments):
    scene = make_scene(slots=2, depth=64)
    scene.add(*make_assignments(2))
    scene.finish(scene.processes[0], 1)
    scene.finish(scene.processes[1], 2)
    scene.add(*make_assignments(20))
    scene.work()
    assert [len(keys) for keys in scene.assigned()] == [11, 11]


def test_only_slots_that_were_heard_are_looked_at_between_ticks(make_scene, make_assignments):
    scene = make_scene(slots=2)
    scene.add(*make_assignments(2))
    scene.work()
    for process, key in zip(scene.processes, (1, 2), strict=True):
        process.reports.append(Done(key, Result(usage=Usage())))
    first, second = scene.pool.slots
    assert scene.pool.work(scene.now, [first]) == [first]
    assert (first.load, second.load) == (0, 1)
    scene.pool.work(scene.now + TICK_S, [first])
    assert second.load == 0


def test_slow_slots_get_no_task_ahead(make_scene, make_assignments):
    scene = make_scene(slots=1)
    scene.add(*make_assignments(4))
    scene.work(1.0)
    scene.finish(scene.processes[0], 1)
    assert scene.assigned() == [[1, 2]]


def test_task_stuck_behind_a_slow_one_goes_to_an_idle_slot(make_scene, make_assignments):
    scene = make_scene()
    scene.add(*make_assignments(2))
    scene.finish(scene.processes[0], 1)
    scene.add(*make_assignments(2))
    assert scene.assigned() == [[1, 3, 4], [2]]
    scene.work(QUICK_S)
    assert [process.keys(Recall) for process in scene.processes] == [[], []]
    scene.finish(scene.processes[1], 2)
    assert scene.processes[0].keys(Recall) == [4]
    scene.processes[0].reports.append(Returned(4))
    scene.work()
    assert scene.assigned() == [[1, 3, 4], [2, 4]]


def test_tasks_of_a_dead_process_come_first_again(make_scene, make_assignments):
    scene = make_scene(slots=1, depth=3)
    scene.add(*make_assignments(1))
    scene.finish(scene.processes[0], 1)
    tasks = make_assignments(4)
    scene.add(*tasks)
    scene.work()
    assert scene.assigned() == [[1, 2, 3, 4]]
    scene.pool.take_finished()
    scene.processes[0].alive = False
    scene.work()
    scene.work()
    assert [task for task, _ in scene.pool.take_finished()] == [tasks[0].leased]
    assert scene.assigned()[1] == [3]
    assert scene.pool.waiting == 2


def test_queued_task_is_cancelled_at_once(make_scene, make_assignments):
    scene = make_scene(slots=1)
    tasks = make_assignments(2)
    scene.add(*tasks)
    assert scene.pool.cancel(tasks[1].leased.job, tasks[1].leased.lease, scene.now)
    ((task, result),) = scene.pool.take_finished()
    assert (task, result.cancelled) == (tasks[1].leased, True)
    assert scene.pool.next_due_at(scene.now) > scene.now


def test_running_task_is_halted(make_scene, make_assignments):
    scene = make_scene()
    tasks = make_assignments(2)
    scene.add(*tasks)
    assert scene.pool.cancel(tasks[1].leased.job, tasks[1].leased.lease, scene.now)
    assert scene.processes[1].keys(Halt) == [2]


def test_unknown_lease_cannot_be_cancelled(make_scene, make_assignments):
    scene = make_scene()
    tasks = make_assignments(3)
    scene.add(*tasks)
    assert not scene.pool.cancel(tasks[0].leased.job, "another", scene.now)
    assert not scene.pool.cancel(999, tasks[0].leased.lease, scene.now)


def test_held_pool_hands_out_nothing(make_scene, make_assignments):
    scene = make_scene()
    scene.pool.holding = True
    tasks = make_assignments(2)
    scene.add(*tasks)
    scene.work()
    assert scene.assigned() == [[], []]
    assert scene.pool.take_queue() == [task.leased for task in tasks]
    assert scene.pool.waiting == 0


def test_recalled_tasks_can_be_taken(make_scene, make_assignments):
    scene = make_scene(slots=1)
    scene.add(*make_assignments(1))
    scene.finish(scene.processes[0], 1)
    tasks = make_assignments(2)
    scene.add(*tasks)
    scene.pool.holding = True
    scene.pool.recall()
    assert scene.pool.is_recalling
    scene.processes[0].reports.append(Returned(3))
    scene.work()
    assert not scene.pool.is_recalling
    assert scene.pool.take_queue() == [tasks[1].leased]


def test_logs_of_running_tasks_are_read_once(make_scene, make_assignments):
    scene = make_scene()
    (task,) = make_assignments(1)
    scene.add(task)
    scene.processes[0].reports.extend([Logged(1, b"a", 0), Logged(1, b"b", 10)])
    scene.work()
    (update,) = scene.pool.read_logs()
    assert (update.job, update.lease, update.log, update.offset) == (task.leased.job, task.leased.lease, b"b", 10)
    assert scene.pool.read_logs() == []


def test_task_fails_when_no_process_starts(make_assignments):
    news = News()

    def start():
        raise OSError("no such interpreter")

    pool = Pool([Slot(start, news, Patience(1.0, 10.0))], news, depth=2)
    first, second = make_assignments(2)
    pool.add([first], 0.0)
    pool.add([second], 0.0)
    now = 0.0
    for _ in range(BROKEN_AFTER):
        assert pool.take_finished() == []
        pool.work(now)
        now += 100
    ((task, result),) = pool.take_finished()
    assert (task, result.error.kind) == (first.leased, ErrorKind.WORKER)
    assert "no such interpreter" in result.error.message
    assert pool.waiting == 1


def test_failing_start_costs_nothing_while_other_slots_work(make_scene, make_assignments):
    scene = make_scene()
    scene.add(*make_assignments(3))
    scene.pool._news.failed_starts.append(("no memory", BROKEN_AFTER))
    scene.work()
    assert scene.pool.take_finished() == []


def test_shut_down_reports_everything(make_scene, make_assignments):
    scene = make_scene()
    scene.add(*make_assignments(5))
    scene.pool.shut_down(scene.now)
    assert [result.error.kind for _, result in scene.pool.take_finished()] == [ErrorKind.WORKER] * 5
    assert (scene.pool.busy, scene.pool.waiting) == (0, 0)
