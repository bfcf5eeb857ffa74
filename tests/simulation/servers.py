"""Control servers in simulated time: the real services over a real database, that crash where it hurts."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fibers import Killed, Machine, World
from house import borrow_app, give_back_app, migrated_file
from network import Network, OpenCall, Receiver, Sent, answer

from piecework.client.replies import HttpReply
from piecework.server.errors import DatabaseAway
from piecework.server.services import Services, open_services
from piecework.server.services.core import Sleeper
from piecework.server.services.queue.webhooks.sender import Sender
from piecework.server.settings import Settings

START_MS = 1_790_000_000_000
SEND_S = 0.5
"""Webhooks that are due are sent within this time."""
SWEEP_S = 1.0
"""So often a server removes what is over."""
RESTART_S = 4.0
"""A server that crashed is started again within this time."""


class ServerClock:
    """What servers of one database take for the time: that of the world, set forward and back now and then."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.offset_ms = 0

    def __call__(self) -> int:
        return START_MS + round(self._world.now_s * 1000) + self.offset_ms


class SimulatedServer:
    """One server, through all of its starts."""

    def __init__(
        self, world: World, network: Network, receiver: Receiver, clock: ServerClock, name: str, data: Path,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.world, self.network, self.clock, self.name = world, network, clock, name
        self._receiver = receiver
        self._settings = Settings(**{"data": data, "synchronous": "OFF", "webhook_private": "*", **settings})
        if not settings.get("database_url"):
            data.mkdir(parents=True, exist_ok=True)
            (data / "piecework.db").write_bytes(migrated_file())
        self.machine: Machine | None = None
        self.services: Services | None = None
        self.app: Any = None
        self.starts = 0
        self.sweeps = False
        """Remove jobs whose time is over, and results that are not kept any more."""
        self.on_answer: Callable[[Sent, HttpReply], object] = lambda *_: None
        """Sees each answer before the network has it."""
        self._calls: dict[OpenCall, None] = {}
        """In the order in which they came: that of a set depends on addresses."""

    def start(self) -> None:
        self.starts += 1
        self.machine = Machine(self.world, f"{self.name}#{self.starts}")
        sleeper = Sleeper(lambda: self.world.now_s, self.world.acquire)
        self.services = open_services(self._settings, self.clock, sleeper)
        self._haunt(self.services)
        if self.app is None:
            self.app = borrow_app(self.services)
        self.app.extensions["piecework"] = self.services
        self.machine.start(self._keep_time, "timekeeper")
        if self.sweeps:
            self.machine.start(self._sweep, "sweeper")
        machine, core = self.machine, SimpleNamespace(clock=self.clock, sleeper=sleeper)
        spawn = partial(machine.start, name="webhook")
        sender = Sender(core, self.services.deliveries, self._receiver.post, spawn)  # type: ignore[arg-type]
        machine.start(partial(self._send, sender), "sender")

    def _haunt(self, services: Services) -> None:
        """Let transactions fail, and the server die just before or after one is committed."""
        write = services.database.write
        faults = self.network

        def write_or_fail(work: Any, *, durable: bool = True) -> Any:
            chances = faults.faults
            if self.world.current is None or self.world.current.machine is not self.machine:
                return write(work, durable=durable)
            if faults.happens(chances.failed_commit):
                return write(lambda connection: self._fail(work, connection), durable=durable)
            if faults.happens(chances.crash_before_commit):
                self.crash()
                raise Killed
            done = write(work, durable=durable)
            if faults.happens(chances.crash_after_commit):
                self.crash()
                raise Killed
            return done

        services.database.write = write_or_fail  # type: ignore[method-assign]

    @staticmethod
    def _fail(work: Any, connection: Any) -> None:
        work(connection)
        error = DatabaseAway("the simulated disk failed")
        error.is_logged = True
        raise error

    def _keep_time(self) -> None:
        services = self.services
        assert services is not None
        while True:
            try:
                sleep_s = services.timekeeper.move_on()
                services.timekeeper.do_chores()
            except DatabaseAway:
                sleep_s = 1.0
            self.world.sleep(max(sleep_s, 0.02))

    def _sweep(self) -> None:
        services = self.services
        assert services is not None
        while self.sweeps:
            self.world.sleep(SWEEP_S)
            with suppress(DatabaseAway):
                services.retention.step()
                services.memos.sweep()

    def _send(self, sender: Sender) -> None:
        while True:
            with suppress(DatabaseAway):
                sender.turn()
            self.world.sleep(SEND_S)

    def crash(self) -> None:
        """End the process as ``kill -9`` does; somebody starts it again soon."""
        assert self.machine is not None
        if self.machine.is_dead:
            return
        self.machine.kill()
        calls, self._calls = self._calls, {}
        for call in calls:
            call.settle(None, "connection reset")
        services, self.services = self.services, None
        assert services is not None
        services.database.close()

        def start_again() -> None:
            self.world.sleep(self.world.random.uniform(0.1, RESTART_S))
            self.start()

        self.network.start(start_again, f"operator of {self.name}")

    def receive(self, sent: Sent, call: OpenCall | None, on_answer: Callable[[HttpReply], object]) -> None:
        """Answer a request on a thread of the server's own."""
        if self.services is None:
            if call is not None:
                call.settle(None, "connection refused")
            return
        assert self.machine is not None
        if call is not None:
            self._calls[call] = None

        def handle() -> None:
            reply = answer(self.app, sent, call)
            if call is not None:
                self._calls.pop(call, None)
            self.on_answer(sent, reply)
            on_answer(reply)

        self.machine.start(handle, "request")

    def close(self) -> None:
        if self.services is not None:
            self.services.close()
        if self.app is not None:
            give_back_app(self.app)
