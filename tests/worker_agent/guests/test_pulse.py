"""The second thread of a guest process, one tick at a time."""

import socket
import threading

import pytest
from patience import PATIENCE_S

from piecework.worker_agent.guests.frames import Logged, pack, read_reports
from piecework.worker_agent.guests.marker import Marker
from piecework.worker_agent.guests.work.desk import Desk, Turn
from piecework.worker_agent.guests.work.pulse import LOG_EVERY_S, LOG_PART_BYTES, TICK_S, Pulse
from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason, StopSignal
from piecework.worker_agent.runtimes.streams import LogTail


class Scene:
    """A pulse with a clock that the test moves."""

    def __init__(self, near, far, task):
        self.now, self.near, self.gone = 100.0, near, threading.Event()
        self.desk = Desk(far, Marker())
        self.pulse = Pulse(self.desk, self.gone.set, clock=lambda: self.now)
        self.turn = Turn(task, StopSignal())
        self.log = LogTail(task.task.bounds.log_bytes)
        self.reader = read_reports()

    def tick_after(self, seconds):
        self.now += seconds
        return self.pulse.tick()

    def hear(self):
        self.near.setblocking(False)
        try:
            return list(self.reader.feed(self.near.recv(1_000_000)))
        except BlockingIOError:
            return []


@pytest.fixture
def scene(make_assign):
    near, far = socket.socketpair()
    with near, far:
        yield Scene(near, far, make_assign(b"code", key=4, timeout_s=10.0, log_bytes=100_000))


def test_guest_is_stopped_at_its_deadline_and_not_before(scene):
    with scene.pulse.watching(scene.turn, scene.log):
        assert scene.tick_after(9.99)
        assert scene.turn.stop.reason is None
        assert scene.tick_after(0.01)
        assert scene.turn.stop.reason is StopReason.TIMEOUT


def test_guest_that_ended_is_not_watched_any_more(scene):
    with scene.pulse.watching(scene.turn, scene.log):
        pass
    scene.tick_after(100)
    assert scene.turn.stop.reason is None


def test_log_is_passed_on_in_parts_each_once(scene):
    with scene.pulse.watching(scene.turn, scene.log):
        scene.log.write(b"one ")
        scene.tick_after(0.01)
        assert scene.hear() == []
        scene.tick_after(LOG_EVERY_S)
        assert scene.hear() == [Logged(4, b"one ", 0)]
        scene.tick_after(LOG_EVERY_S)
        assert scene.hear() == []
        scene.log.write(b"two")
        scene.tick_after(LOG_EVERY_S)
        assert scene.hear() == [Logged(4, b"two", 4)]


def test_flood_is_passed_on_by_its_newest_part(scene):
    with scene.pulse.watching(scene.turn, scene.log):
        scene.log.write(b"x" * 90_000)
        scene.tick_after(LOG_EVERY_S)
        assert scene.hear() == [Logged(4, b"x" * LOG_PART_BYTES, 90_000 - LOG_PART_BYTES)]


def test_tick_tells_when_the_agent_is_gone(scene):
    assert scene.pulse.tick()
    scene.near.close()
    assert not scene.pulse.tick()


def test_tick_survives_a_broken_link(scene):
    scene.near.close()
    with scene.pulse.watching(scene.turn, scene.log):
        scene.log.write(b"lost")
        assert not scene.tick_after(LOG_EVERY_S)


@pytest.mark.slow
def test_pulse_rests_when_idle_and_wakes_for_a_task(scene, make_assign, monkeypatch):
    monkeypatch.setattr("piecework.worker_agent.guests.work.pulse.IDLE_TICKS", 2)
    scene.pulse.start()
    assert not scene.gone.wait(10 * TICK_S)
    scene.near.sendall(pack(make_assign(b"code", timeout_s=0.05)))
    turn = scene.desk.take()
    scene.pulse.wake()
    with scene.pulse.watching(turn, scene.log):
        scene.now += 1
        with pytest.raises(StoppedError):
            turn.stop.wait(PATIENCE_S)
    scene.near.close()
    assert scene.gone.wait(PATIENCE_S)
