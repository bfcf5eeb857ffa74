"""What becomes of the files that replicas recorded."""

import pytest
from fake_control_server import FakeControlServer
from hand_clock import HandClock

from piecework.client import Invalid, ServerUnreachable
from piecework.protocol.ids import Id
from piecework.worker_agent.replicas.recordings import REQUEST_BYTES, Recordings


@pytest.fixture
def server():
    return FakeControlServer(HandClock())


@pytest.fixture
def recordings(tmp_path):
    return Recordings(tmp_path / "calls")


def put(recordings, replica, *contents):
    folder = recordings.open_folder(Id(replica))
    for n, content in enumerate(contents):
        (folder / f"{n}.call").write_bytes(content)
    return folder


def sent(server):
    return [[(int(each.replica), each.call) for each in message.calls] for message in server.sent("calls")]


def test_nothing_is_asked_without_files(server, recordings):
    recordings.hand_in(Id(1), server)
    put(recordings, 5)
    recordings.hand_in(Id(1), server)
    assert sent(server) == []


def test_files_go_to_the_server_once(server, recordings):
    put(recordings, 5, b"a", b"b")
    folder = put(recordings, 6, b"c")
    (folder / "1.part").write_bytes(b"not whole yet")
    recordings.hand_in(Id(1), server)
    recordings.hand_in(Id(1), server)
    assert sent(server) == [[(5, b"a"), (5, b"b"), (6, b"c")]]
    assert [each.name for each in folder.iterdir()] == ["1.part"]


def test_many_go_in_several_requests(server, recordings):
    put(recordings, 5, *[bytes(REQUEST_BYTES // 2)] * 5)
    recordings.hand_in(Id(1), server)
    assert [len(each) for each in sent(server)] == [2, 2, 1]


def test_what_replicas_recorded_that_are_gone_is_dropped(server, recordings):
    gone, kept = put(recordings, 5, b"a"), put(recordings, 6)
    recordings.tidy([Id(6)])
    recordings.hand_in(Id(1), server)
    assert (gone.exists(), kept.exists()) == (False, True)
    assert sent(server) == []


@pytest.mark.parametrize(("error", "left"), [(ServerUnreachable("away", "it is"), 1), (Invalid(422, 1, "no"), 0)])
def test_files_stay_while_the_server_is_away(server, recordings, error, left):
    folder = put(recordings, 5, b"a")
    server.fail_once("calls", error)
    recordings.hand_in(Id(1), server)
    assert len(list(folder.iterdir())) == left
