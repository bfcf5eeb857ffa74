"""The guest process's program, run in a thread of this process."""

import socket
import subprocess
import sys
import threading

import pytest
from patience import LONG_S, PATIENCE_S

from piecework.worker_agent.guests.child import serve
from piecework.worker_agent.guests.frames import (
    Done,
    Equip,
    Halt,
    Loaded,
    Loading,
    Logged,
    Ready,
    pack,
    read_reports,
)
from piecework.worker_agent.guests.marker import Marker
from piecework.worker_agent.runtimes.services.access import NodeRules


class Session:
    """An agent's conversation with the program."""

    def __init__(self, link, compiled):
        self.gone = threading.Event()
        self.link, self.heard, self._reader = link, [], read_reports()
        near, self.far = link
        self.near = near
        self.near.settimeout(10)
        self.thread = threading.Thread(target=serve, args=(self.far, Marker(), compiled, None, self.gone.set))
        self.thread.start()
        self.send(Equip(0, NodeRules()))

    def send(self, *frames):
        self.near.sendall(b"".join(pack(frame) for frame in frames))

    def hear_until(self, kind, count=1):
        while sum(isinstance(frame, kind) for frame in self.heard) < count:
            self.heard += self._reader.feed(self.near.recv(65_536))
        return self.heard


@pytest.fixture
def session(tmp_path):
    session = Session(socket.socketpair(), tmp_path / "compiled")
    yield session
    session.near.close()
    session.thread.join(LONG_S)
    assert not session.thread.is_alive()
    assert session.gone.wait(PATIENCE_S)
    session.far.close()


def test_tasks_are_run_in_order_and_their_code_loaded_once(session, make_assign, build_guest):
    code = build_guest("wasi/echo")
    session.send(make_assign(code, key=1, given=b"one"), make_assign(code, key=2, given=b"two"))
    heard = session.hear_until(Done, count=2)
    assert [type(frame) for frame in heard] == [Ready, Loading, Loaded, Done, Done]
    assert [(frame.key, frame.result.output) for frame in heard[3:]] == [(1, b"one"), (2, b"two")]


def test_running_guest_is_halted_soon(session, make_assign, build_guest):
    session.send(make_assign(build_guest("wasi/loop"), key=1))
    session.hear_until(Loaded)
    session.send(Halt(1))
    done = session.hear_until(Done)[-1]
    assert done.result.cancelled
    assert done.result.error.message == "it was cancelled"
    assert done.result.usage.wall_s < 5


@pytest.mark.slow
def test_log_comes_while_the_guest_runs(session, make_assign, build_text):
    source = """
    (module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\\10\\00\\00\\00\\06\\00\\00\\00")
      (data (i32.const 16) "hello\\n")
      (func (export "_start")
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        (loop $again (br $again))))
    """
    session.send(make_assign(build_text(source), key=1))
    assert session.hear_until(Logged)[-1] == Logged(1, b"hello\n", 0)
    session.send(Halt(1))
    assert session.hear_until(Done)[-1].result.log == b"hello\n"


PROGRAM = """
import os, signal, sys
from piecework.worker_agent.guests.child import end_with_parent
child = os.fork()
if child == 0:
    end_with_parent(os.getppid())
    print(os.getpid(), flush=True)
    signal.pause()
sys.stdin.read()
"""


@pytest.mark.integration
def test_process_ends_when_its_parent_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        int(parent.stdout.readline())
        parent.kill()
        # The pipe closes when the last process that holds it is gone.
        assert parent.stdout.read() == b""


@pytest.mark.integration
def test_process_of_a_parent_that_is_gone_ends_at_once():
    module = "piecework.worker_agent.guests.child"
    program = f"from {module} import end_with_parent; end_with_parent(1 << 30); print('on')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


@pytest.mark.integration
def test_process_leaves_no_core_and_goes_first():
    program = (
        "import resource; from piecework.worker_agent.guests.child import lower_own_value; lower_own_value();"
        "print(resource.getrlimit(resource.RLIMIT_CORE), open('/proc/self/oom_score_adj').read())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["(0,", "0)", "800"]
