"""The network between simulated machines: requests and answers are late, lost, or come twice."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fibers import Machine, SimulatedEvent, World
from werkzeug.test import EnvironBuilder, run_wsgi_app

from piecework.client.errors import ServerUnreachable
from piecework.client.replies import HttpReply, read_refusal
from piecework.client.transport import PreparedRequest, Transport
from piecework.server.services.callers import note_caller
from piecework.server.services.queue.webhooks.posting import TIMEOUT_S, Posted, WebhookMessage

if TYPE_CHECKING:
    from servers import SimulatedServer

URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Faults:
    """How likely what goes wrong is, for each request, commit or second."""

    lost_request: float = 0.0
    lost_answer: float = 0.0
    repeated: float = 0.0
    """The network delivers a request a second time, later."""
    slow: float = 0.0
    """A request or an answer takes seconds."""
    crash_before_commit: float = 0.0
    crash_after_commit: float = 0.0
    failed_commit: float = 0.0
    server_crash_each_s: float = 0.0
    agent_crash_each_s: float = 0.0
    agent_stop_each_s: float = 0.0
    """An agent is asked to end in good order."""
    agent_freeze_each_s: float = 0.0
    """An agent's process stands still for a while."""
    clock_jump_each_s: float = 0.0
    """The server's clock is set forward or back."""
    unheard: float = 0.3
    """The server does not notice that a caller has gone."""


NONE = Faults()


@dataclass
class Sent:
    """A request, as the network carries it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class OpenCall:
    """A request that its caller waits for."""

    def __init__(self, world: World) -> None:
        self.reply: HttpReply | None = None
        self.error = ""
        self.settled = SimulatedEvent(world)
        self.on_leave: list[Callable[[], object]] = []
        self.has_left = False

    def settle(self, reply: HttpReply | None, error: str = "") -> None:
        self.reply, self.error = reply, error
        self.settled.set()

    def watch(self, tell: Callable[[], object]) -> None:
        """Have ``tell`` called when the caller has gone, as the web server does."""
        self.on_leave.append(tell)
        if self.has_left:
            tell()

    def leave(self, *, heard: bool) -> None:
        self.has_left = True
        if heard:
            for tell in self.on_leave:
                tell()


class Network(Machine):
    """Carries requests from any machine to the servers."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "network")
        self.faults = NONE
        self.requests = 0

    def happens(self, chance: float) -> bool:
        return chance > 0 and self.world.random.random() < chance

    def delay_s(self) -> float:
        random = self.world.random
        return random.uniform(0.5, 8.0) if self.happens(self.faults.slow) else random.expovariate(1 / 0.004)

    def ask(self, server: "SimulatedServer", sent: Sent, timeout_s: float) -> HttpReply:
        """Bring a request to a server and its answer back. Raises ServerUnreachable."""
        self.requests += 1
        call = OpenCall(self.world)
        if not self.happens(self.faults.lost_request):
            self._bring(server, sent, call)
        if self.happens(self.faults.repeated):
            self._bring(server, sent, None)
        try:
            call.settled.wait(timeout_s)
        finally:
            if not call.settled.is_set():
                call.leave(heard=not self.happens(self.faults.unheard))
        if call.reply is None:
            raise ServerUnreachable(URL, call.error or f"no answer within {timeout_s:g} s")
        return call.reply

    def _bring(self, server: "SimulatedServer", sent: Sent, call: OpenCall | None) -> None:
        def travel() -> None:
            self.world.sleep(self.delay_s())
            server.receive(sent, call, lambda reply: self._bring_back(call, reply))

        self.start(travel, "request")

    def _bring_back(self, call: OpenCall | None, reply: HttpReply) -> None:
        if call is None or self.happens(self.faults.lost_answer):
            return

        def travel() -> None:
            self.world.sleep(self.delay_s())
            call.settle(reply)

        self.start(travel, "answer")


class Receiver:
    """Whom webhooks lead to, over a network that loses messages and answers."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.told: dict[str, bytes] = {}
        """What came, by its id."""

    def post(self, _url: str, _secrets: list[str], message: WebhookMessage) -> Posted:
        """Fulfil ``piecework.server.services.queue.webhooks.sender.Post``."""
        network = self._network
        network.world.sleep(network.delay_s())
        if not network.happens(network.faults.lost_request):
            earlier = self.told.setdefault(message.id, message.body)
            assert earlier == message.body, f"delivery {message.id} changed from {earlier!r} to {message.body!r}"
            network.world.sleep(network.delay_s())
            if not network.happens(network.faults.lost_answer):
                return Posted(204, "")
        network.world.sleep(TIMEOUT_S)
        return Posted(None, "no answer")


def answer(app: Any, sent: Sent, call: OpenCall | None) -> HttpReply:
    """Have a WSGI app answer a request."""
    path, _, query = sent.target.partition("?")
    builder = EnvironBuilder(
        path, method=sent.method, query_string=query, headers=sent.headers, input_stream=io.BytesIO(sent.body)
    )
    builder.content_length = len(sent.body)
    note_caller(call.watch if call is not None else None)
    pieces, status, headers = run_wsgi_app(app, builder.get_environ(), buffered=True)
    code, _, reason = status.partition(" ")
    found = {name.lower(): value for name, value in headers.items()}
    return HttpReply(URL + path, int(code), reason, found, b"".join(pieces))


class Stream:
    """What ``piecework.client.transport.Stream`` is, of an answer that is here."""

    def __init__(self, reply: HttpReply) -> None:
        self.url, self.headers = reply.url, reply.headers
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        yield self._reply.content

    def read(self, most_bytes: int | None = None) -> HttpReply:
        return replace(self._reply, content=self._reply.content[:most_bytes])


class SimulatedTransport(Transport):
    """The client's transport, over a simulated network."""

    def __init__(self, network: Network, choose_server: Callable[[], "SimulatedServer"], **options: Any) -> None:
        super().__init__(URL, **options)
        self._network = network
        self._choose_server = choose_server
        self.pause = network.world.sleep  # type: ignore[method-assign]

    @contextmanager
    def _open(self, request: PreparedRequest, head: Any, body: Any = None, *, also: Any = ()) -> Iterator[Any]:
        server, _ = next(self.servers.in_turn())
        first, *lines = head(server).decode().rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        content = body if isinstance(body, bytes) else b"".join(body or ())
        timeout_s = self._retries.read_timeout_s(request.poll_s, len(content))
        reply = self._network.ask(self._choose_server(), Sent(method, target, headers, content), timeout_s)
        if not reply.ok and reply.status not in also:
            raise read_refusal(reply)
        yield Stream(reply)
