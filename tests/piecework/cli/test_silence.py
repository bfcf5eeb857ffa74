"""A server that takes connections and says nothing: no command waits longer than it was told to."""

import time

import pytest
from raw_server import RawServer


def listen(connection):
    while connection.recv(65536):
        pass


@pytest.fixture
def silent():
    server = RawServer()
    yield server
    server.close()


@pytest.mark.parametrize(
    ("command", "most_s"),
    [
        (["ping"], 2.5),
        (["ping", "--timeout", 0.2], 1.5),
        (["job", "wait", 1, "--timeout", 0.2], 3.5),
        (["function", "invoke", "hola", "--timeout", 0.2], 1.5),
        (["function", "invoke", "hola", "--revision", "blue", "--timeout", 0.2], 1.5),
    ],
)
def test_a_command_ends_in_its_time(run, silent, command, most_s):
    silent.answer(listen)
    began = time.monotonic()
    ran = run(*command, url=silent.url, exit_code=1)
    assert time.monotonic() - began < most_s
    assert ran.err == (
        f"piecework: no answer from {silent.url}: it took too long. "
        "It may be busy; or name another with --url or PIECEWORK_URL.\n"
    )
