"""The guest process's link to its agent."""

import socket
import threading

import pytest
from msgspec.structs import replace
from patience import PATIENCE_S

from piecework.protocol.messages import Usage
from piecework.worker_agent.guests.frames import (
    Ask,
    Done,
    Halt,
    Kept,
    Logged,
    Ready,
    Recall,
    Returned,
    Serving,
    Told,
    pack,
    read_reports,
)
from piecework.worker_agent.guests.marker import Marker
from piecework.worker_agent.guests.work.desk import OUTBOX_BYTES, SYNC_S, Desk
from piecework.worker_agent.runtimes.services.entries import EntryAnswer, EntryFault, EntryRequest
from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason
from piecework.worker_agent.tasks import Result


class Agent:
    """The other end of the link."""

    def __init__(self, link):
        self.link = link
        self.link.settimeout(5)
        self._reader = read_reports()

    def send(self, *frames):
        self.link.sendall(b"".join(pack(frame) for frame in frames))

    def hear(self):
        while True:
            heard = list(self._reader.feed(self.link.recv(65_536)))
            if heard:
                return heard


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield Agent(near), Desk(far, Marker(), clock=lambda: 1000.0)


@pytest.fixture
def make_assigns(make_assign):
    return lambda count: [make_assign(b"code", key=key) for key in range(1, count + 1)]


def test_tasks_are_taken_in_order(pair, make_assigns):
    agent, desk = pair
    tasks = make_assigns(2)
    agent.send(*tasks)
    assert [desk.take().assign, desk.take().assign] == tasks


def test_desk_is_busy_from_take_to_done(pair, make_assigns):
    agent, desk = pair
    agent.send(*make_assigns(1))
    assert not desk.busy
    desk.take()
    assert desk.busy
    desk.done(Ready(7))
    assert not desk.busy
    assert desk.poll()
    assert agent.hear() == [Ready(7)]


def test_reports_travel_together_and_none_waits_when_there_is_nothing_to_do(pair, make_assigns):
    agent, desk = pair
    agent.send(*make_assigns(3))
    for key in (1, 2):
        desk.take()
        desk.done(Ready(key))
    desk.take()
    agent.link.setblocking(False)
    with pytest.raises(BlockingIOError):
        agent.link.recv(1)
    desk.done(Ready(3))
    agent.link.settimeout(5)
    thread = threading.Thread(target=desk.take)
    thread.start()
    assert agent.hear() == [Ready(1), Ready(2), Ready(3)]
    agent.send(*make_assigns(1))
    thread.join(PATIENCE_S)


def test_report_does_not_wait_for_the_end_of_a_task_that_begins_later(make_assigns):
    near, far = socket.socketpair()
    now = 1000.0
    with near, far:
        agent, desk = Agent(near), Desk(far, Marker(), clock=lambda: now)
        agent.send(*make_assigns(2))
        desk.take()
        now += SYNC_S
        desk.done(Ready(1))
        desk.take()
        assert agent.hear() == [Ready(1)]


def test_report_of_a_call_is_not_lost_with_a_later_one(pair, make_assigns):
    agent, desk = pair
    agent.send(*[replace(task, serving=Serving()) for task in make_assigns(2)])
    for key in (1, 2):
        desk.take()
        desk.done(Ready(key))
        assert agent.hear() == [Ready(key)]


def test_long_report_is_sent_at_once(pair, make_assigns):
    agent, desk = pair
    agent.send(*make_assigns(2))
    desk.take()
    desk.done(Logged(1, b"x" * OUTBOX_BYTES, 0))
    assert len(agent.hear()) == 1


def test_marker_tells_the_task_in_work(make_assigns):
    near, far = socket.socketpair()
    with near, far:
        marker = Marker()
        agent, desk = Agent(near), Desk(far, marker)
        agent.send(*make_assigns(2))
        assert marker.get() == 0
        for key in (1, 2):
            assert desk.take().assign.key == marker.get() == key
            desk.done(Ready(key))


def test_take_waits_for_a_task(pair, make_assigns):
    agent, desk = pair
    tasks = make_assigns(1)
    timer = threading.Timer(0.02, agent.send, tasks)
    timer.start()
    assert desk.take().assign == tasks[0]
    timer.join()


def test_closed_link_ends_the_desk_even_with_tasks_left(pair, make_assigns):
    agent, desk = pair
    agent.send(*make_assigns(2))
    desk.take()
    agent.link.close()
    assert not desk.poll()
    assert desk.take() is None


def test_recalled_task_is_returned_unless_it_began(pair, make_assigns):
    agent, desk = pair
    agent.send(*make_assigns(3))
    turn = desk.take()
    agent.send(Recall(1), Recall(3), Recall(99))
    assert desk.poll()
    assert agent.hear() == [Kept(1), Returned(3), Kept(99)]
    assert turn.stop.reason is None
    assert desk.take().assign.key == 2


def test_halted_task_is_returned_or_stopped(pair, make_assigns):
    agent, desk = pair
    agent.send(*make_assigns(2))
    turn = desk.take()
    agent.send(Halt(2), Halt(1), Halt(99))
    assert desk.poll()
    assert agent.hear() == [Returned(2)]
    assert turn.stop.reason is StopReason.CANCELLED


def test_poll_does_nothing_while_the_other_thread_waits(pair, make_assigns):
    agent, desk = pair
    taken = []
    thread = threading.Thread(target=lambda: taken.append(desk.take()))
    thread.start()
    assert desk.poll()
    agent.send(*make_assigns(1))
    thread.join(PATIENCE_S)
    assert taken[0].assign.key == 1


def test_broken_link_is_an_os_error(pair):
    agent, desk = pair
    agent.link.close()
    with pytest.raises(OSError, match="Broken pipe"):
        desk.send(Done(1, Result(output=b"x" * 10_000_000, usage=Usage())))


WANTED = EntryRequest("get", 7, "k")


def test_guest_gets_the_answer_that_it_waits_for(pair, make_assigns):
    agent, desk = pair
    agent.send(*make_assigns(1))
    desk.take()
    late, answer = EntryAnswer(b"late"), EntryAnswer(b"value")
    agent.send(Told(1, 0, late), Told(1, 1, answer))
    assert desk.ask(WANTED) == answer
    assert agent.hear() == [Ask(1, 1, WANTED)]
    agent.send(Told(1, 1, late), Told(1, 2, answer))
    assert desk.ask(WANTED) == answer


def test_guest_that_waits_for_a_value_hears_that_it_must_end(pair, make_assigns):
    agent, desk = pair
    agent.send(*make_assigns(1))
    turn = desk.take()
    agent.send(Halt(1))
    with pytest.raises(StoppedError):
        desk.ask(WANTED)
    assert turn.stop.reason is StopReason.CANCELLED


def test_agent_that_is_gone_ends_the_wait_for_a_value(pair, make_assigns):
    agent, desk = pair
    agent.send(*make_assigns(1))
    desk.take()
    agent.link.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        desk.ask(WANTED)


@pytest.mark.slow
def test_agent_that_is_silent_is_an_error_number(make_assigns):
    near, far = socket.socketpair()
    with near, far:
        times = iter(range(0, 10_000, 20))
        desk = Desk(far, Marker(), clock=lambda: float(next(times)))
        Agent(near).send(*make_assigns(1))
        desk.take()
        assert desk.ask(WANTED).fault is EntryFault.AWAY
        assert desk.ask(replace(WANTED, act="delete")).fault is EntryFault.UNSURE
