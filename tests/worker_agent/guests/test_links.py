"""What ends a wait of the executor's thread."""

import selectors
import socket

import pytest
from patience import PATIENCE_S

from piecework.worker_agent.guests.links import Links


class Process:
    """Stands for a guest process: a link, and whether there is mail for it."""

    def __init__(self):
        self.link, self.far = socket.socketpair()
        self.has_mail = False

    def awaited_events(self):
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self.has_mail else 0)

    def close(self):
        self.link.close()
        self.far.close()


SLOTS = "ab"


@pytest.fixture
def processes():
    processes = {slot: Process() for slot in SLOTS}
    yield processes
    for process in processes.values():
        process.close()


@pytest.fixture
def links(processes):
    links = Links()
    links.follow(SLOTS, processes)
    yield links
    links.close()
    links.close()
    links.wake()


def test_slots_that_have_something_to_say_are_told(links, processes):
    assert links.wait(0) == []
    processes["b"].far.send(b"x")
    assert links.wait(PATIENCE_S) == ["b"]
    processes["b"].link.recv(1)
    assert links.wait(0) == []


def test_waking_ends_a_wait_and_makes_all_slots_worth_a_look(links, processes):
    processes["a"].far.send(b"x")
    links.wake()
    links.wake()
    assert links.wait(PATIENCE_S) == []
    assert links.wait(PATIENCE_S) == ["a"]


def test_process_that_takes_mail_again_is_told_while_there_is_mail(links, processes):
    processes["a"].has_mail = True
    links.follow(SLOTS, processes)
    assert links.wait(PATIENCE_S) == ["a"]
    processes["a"].has_mail = False
    links.follow(SLOTS, processes)
    assert links.wait(0) == []


def test_descriptor_of_a_process_that_is_gone_may_come_back_elsewhere(links, processes):
    gone = processes["b"]
    number = gone.link.fileno()
    gone.close()
    del processes["b"]
    new = Process()
    processes["a"].close()
    processes["a"] = new
    assert number in (new.link.fileno(), new.far.fileno())
    links.follow(SLOTS, processes)
    new.far.send(b"x")
    assert links.wait(PATIENCE_S) == ["a"]


def test_waking_that_nobody_hears_is_no_error(links):
    for _ in range(2_000):
        links.wake()
    assert links.wait(PATIENCE_S) == []
