"""Workers of v0.5 in simulated time: no leases, no heartbeats, a request for each step."""

from collections import Counter
from random import Random

import msgspec
from agents import RESTART_S, Script
from fibers import Killed, Machine, World
from network import URL, Network, Sent
from servers import SimulatedServer
from v05_client import READ_TIMEOUT_S, V05Api, V05Error

from piecework.client.errors import ServerUnreachable

POLL_S = 5
PAUSE_S = 1.0
"""After something that it does not understand."""


class SimulatedApi(V05Api):
    """The requests of v0.5, over a simulated network."""

    def __init__(self, network: Network, server: SimulatedServer) -> None:
        super().__init__(URL)
        self._network, self._server = network, server

    def send(
        self, method: str, path: str, body: bytes = b"", *, content_type: str = "", timeout_s: int = READ_TIMEOUT_S
    ) -> tuple[int, str | None, bytes]:
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            reply = self._network.ask(self._server, Sent(method, path, headers, body), timeout_s)
        except ServerUnreachable as error:
            raise V05Error(str(error)) from error
        return reply.status, reply.headers.get("content-type"), reply.content


class OldWorker:
    """One worker, through all of its starts. It keeps its id."""

    def __init__(self, world: World, network: Network, server: SimulatedServer, name: str, random: Random) -> None:
        self.world, self.name = world, name
        self._network, self._random = network, random
        self._api = SimulatedApi(network, server)
        self._runs: Counter[str] = Counter()
        """How often it ran each job."""
        self._id = ""
        self.machine: Machine | None = None
        self.stays_away = False

    def start(self) -> None:
        self.machine = Machine(self.world, self.name)
        self.machine.start(self._run, "worker")

    def _run(self) -> None:
        while True:
            try:
                self._id = self._id or self._api.register("wasi")
                if job := self._api.contract(self._id, POLL_S):
                    self._work_on(job)
            except V05Error:
                self.world.sleep(PAUSE_S)

    def _work_on(self, job: str) -> None:
        given = self._api.job(job)["input"]["id"]
        script = msgspec.json.decode(self._api.download(given), type=Script)
        before = self._runs[job]
        self._runs[job] += 1
        self.world.sleep(script.takes_s)
        if before < script.kills:
            self.die()
        elif before < script.kills + script.fails:
            self._api.report(job, "failed", "0")
        else:
            self._api.report(job, "finished", self._api.upload(script.output()))

    def die(self) -> None:
        """End its process as ``kill -9`` does; somebody starts it again soon."""
        machine, self.machine = self.machine, None
        if machine is None:
            return
        machine.kill()

        def start_again() -> None:
            self.world.sleep(self._random.uniform(0.1, RESTART_S))
            if not self.stays_away:
                self.start()

        self._network.start(start_again, f"operator of {self.name}")
        if self.world.current is not None and self.world.current.machine is machine:
            raise Killed
