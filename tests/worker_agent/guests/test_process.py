"""Real guest processes: how they start, talk and end."""

import os
import selectors
import signal
from pathlib import Path

import pytest
from patience import LONG_S

from piecework.worker_agent.guests.frames import Done, Ready
from piecework.worker_agent.guests.process import GuestProcess, describe_end
from piecework.worker_agent.tasks import File

pytestmark = pytest.mark.integration


@pytest.fixture
def process(tmp_path):
    process = GuestProcess(compiled=tmp_path / "compiled", last_words=tmp_path / "stderr")
    yield process
    process.kill()


def hear_until(process, kind):
    heard, alive = [], True
    while alive and not any(isinstance(frame, kind) for frame in heard):
        with selectors.DefaultSelector() as selector:
            selector.register(process.link, process.awaited_events())
            assert selector.select(10)
        process.flush()
        frames, alive = process.receive()
        heard += frames
    return heard, alive


def test_process_runs_a_task_whose_frame_does_not_fit_into_the_link(process, make_assign, build_guest):
    given = os.urandom(3_000_000)
    process.send(make_assign(build_guest("wasi/echo"), given=given, key=5))
    assert process.has_mail
    heard, _ = hear_until(process, Done)
    assert isinstance(heard[0], Ready)
    assert isinstance(heard[-1].result.output, File)
    assert not process.has_mail


def test_environment_of_the_agent_stays_with_the_agent(process):
    hear_until(process, Ready)
    environ = Path(f"/proc/{process.pid}/environ").read_bytes()
    names = {item.partition(b"=")[0] for item in environ.split(b"\0") if item}
    assert names <= {b"PYTHONPATH", b"PATH", b"LANG", b"LC_CTYPE"}


def test_process_is_a_session_of_its_own_and_ignores_ctrl_c(process):
    hear_until(process, Ready)
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    os.kill(process.pid, signal.SIGINT)
    assert process.kill() == "SIGKILL"


def test_crash_is_noticed_and_told(process):
    hear_until(process, Ready)
    os.kill(process.pid, signal.SIGSEGV)
    assert hear_until(process, Done) == ([], False)
    assert process.bury() == "SIGSEGV"
    assert "Segmentation fault" in process.read_last_words()


def test_dead_process_takes_frames_without_complaint(process, make_assign):
    os.kill(process.pid, signal.SIGKILL)
    process.bury()
    process.send(make_assign(b"code"))
    assert process.receive() == ([], False)


def test_process_ends_when_its_link_is_closed(process):
    hear_until(process, Ready)
    process.link.close()
    assert process._process.wait(LONG_S) == 0


def test_failure_to_start_is_an_os_error_and_leaves_nothing_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        GuestProcess(compiled=tmp_path, last_words=tmp_path / "no" / "folder")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (1, "exit code 1"), (-9, "SIGKILL"), (-99, "signal 99")]
)
def test_end_of_a_process_in_words(code, words):
    assert describe_end(code) == words
