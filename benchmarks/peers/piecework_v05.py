"""Piecework's server as v0.5 clients and workers use it."""

import sys
from collections.abc import Mapping

from harness.contestant import WORKERS, Peer, scratch

from peers.v05 import Submitter
from piecework.local import LocalServer


class Piecework(Peer):
    """A server with workers of v0.5. Their jobs are plain Python: the protocol is what is measured."""

    def __init__(self) -> None:
        super().__init__()
        self._server: LocalServer | None = None

    def prepare(self) -> None:
        self._server = LocalServer(scratch())
        self._address = f"127.0.0.1:{self._server.port}"
        self._submitter = Submitter(self._address)

    def commands(self) -> list[list[str]]:
        return [[sys.executable, "-m", "peers.v05", self._address]] * WORKERS

    def run_all(self, payloads: list[str]) -> list[str | None]:
        jobs = [self._submitter.submit(payload) for payload in payloads]
        return [self._submitter.read_result(job) for job in jobs]

    def run_one(self, payload: str) -> str | None:
        return self._submitter.read_result(self._submitter.submit(payload))

    def groups(self) -> Mapping[str, list[int]]:
        server = [self._server.pid] if self._server else []
        return {"server": server, **super().groups()}

    def stop(self) -> None:
        super().stop()
        if self._server:
            self._server.stop()
