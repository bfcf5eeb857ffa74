"""What ends a wait of the executor's thread."""

import selectors
import socket

import pytest
from patience import PATIENCE_S

from worker_agent.guests.slot import News, Patience, Slot
from worker_agent.guests.switchboard import Switchboard


class Line:
    """Stands for a guest process: a link, and whether there is mail for it."""

    def __init__(self):
        self.link, self.far = socket.socketpair()
        self.has_mail = False

    def awaited_events(self):
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self.has_mail else 0)

    def close(self):
        self.link.close()
        self.far.close()


@pytest.fixture
def slots():
    slots = [Slot(Line, News(), Patience(1.0, 1.0)) for _ in range(2)]
    for slot in slots:
        slot.tend(0.0)
    yield slots
    for slot in slots:
        if slot.process is not None:
            slot.process.close()


@pytest.fixture
def switchboard(slots):
    switchboard = Switchboard()
    switchboard.plug(slots)
    yield switchboard
    switchboard.close()
    switchboard.close()
    switchboard.ring()


def test_slots_that_have_something_to_say_are_told(switchboard, slots):
    assert switchboard.wait(0) == []
    slots[1].process.far.send(b"x")
    assert switchboard.wait(PATIENCE_S) == [slots[1]]
    slots[1].process.link.recv(1)
    assert switchboard.wait(0) == []


def test_bell_ends_a_wait_and_makes_all_slots_worth_a_look(switchboard, slots):
    slots[0].process.far.send(b"x")
    switchboard.ring()
    switchboard.ring()
    assert switchboard.wait(PATIENCE_S) == []
    assert switchboard.wait(PATIENCE_S) == [slots[0]]


def test_process_that_takes_mail_again_is_told_while_there_is_mail(switchboard, slots):
    slots[0].process.has_mail = True
    switchboard.plug(slots)
    assert switchboard.wait(PATIENCE_S) == [slots[0]]
    slots[0].process.has_mail = False
    switchboard.plug(slots)
    assert switchboard.wait(0) == []


def test_descriptor_of_a_process_that_is_gone_may_come_back_elsewhere(switchboard, slots):
    gone = slots[1].process
    number = gone.link.fileno()
    gone.close()
    slots[1].process = None
    new = Line()
    slots[0].process.close()
    slots[0].process = new
    assert number in (new.link.fileno(), new.far.fileno())
    switchboard.plug(slots)
    new.far.send(b"x")
    assert switchboard.wait(PATIENCE_S) == [slots[0]]


def test_bell_that_nobody_hears_is_no_error(switchboard):
    for _ in range(2_000):
        switchboard.ring()
    assert switchboard.wait(PATIENCE_S) == []
