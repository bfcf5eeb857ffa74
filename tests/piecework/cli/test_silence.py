"""A server that takes connections and says nothing: no command waits longer than it was told to."""

import time

import pytest
from patience import LONG_S, PATIENCE_S
from raw_server import RawServer

from piecework.http import deadlines


def listen(connection):
    while connection.recv(65536):
        pass


@pytest.fixture
def silent():
    server = RawServer()
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "answer_s"),
    [
        (["ping"], 0.2),
        (["ping", "--timeout", 0.2], LONG_S),
        (["job", "wait", 1, "--timeout", 0.2], 0.2),
        (["function", "invoke", "hola", "--timeout", 0.2], LONG_S),
        (["function", "invoke", "hola", "--revision", "blue", "--timeout", 0.2], LONG_S),
    ],
)
def test_a_command_ends_in_its_time(run, silent, monkeypatch, command, answer_s):
    """What is not told its time waits for what a server has for any answer; a wait, for that beyond its own."""
    monkeypatch.setattr(deadlines, "ANSWER_S", answer_s)
    monkeypatch.setattr("piecework.cli.ping.ANSWER_S", answer_s)
    silent.answer(listen)
    began = time.monotonic()
    ran = run(*command, url=silent.url, exit_code=1)
    assert time.monotonic() - began < PATIENCE_S
    assert ran.err == (
        f"piecework: no answer from {silent.url}: it took too long. "
        "It may be busy; or name another with --url or PIECEWORK_URL.\n"
    )
