"""Real servers and agents for the tests of this folder, as child processes."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine_code import share_compiled
from packages import build, copy_project

from piecework import Client
from piecework.local import LocalAgent, LocalServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that the tests of one file share."""
    with LocalServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: LocalServer) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture(scope="module")
def agent(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAgent]:
    """An agent of that server that runs two jobs at once."""
    folder = tmp_path_factory.mktemp("agent")
    share_compiled(folder / "shared")
    with LocalAgent(server.url, folder, "shared", "--slots", "2") as agent:
        yield agent


class Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name that http.server looks for
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """``host:port`` of an HTTP server on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sdist and wheel of the project, built in a copy of its files as their makers do."""
    folder = tmp_path_factory.mktemp("built")
    return build(copy_project(folder / "project"), folder / "dist")
