"""What the host does for guests of Capsule: the functions that they import from ``env``."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from piecework.http.exchange import Request
from piecework.modules import ModuleFacts
from piecework.modules.capsule import INTERFACE, PARAMETERS_GET, SILENT, UNCONFIGURED
from piecework.worker_agent.runtimes.base import Call
from piecework.worker_agent.runtimes.capsule.envelopes import (
    BadRequestError,
    fill_empty,
    put_answer,
    put_error,
    read_outgoing,
    split_headers,
    write_incoming,
)
from piecework.worker_agent.runtimes.capsule.generations import Generation
from piecework.worker_agent.runtimes.linkage import HostFunction, Linkage
from piecework.worker_agent.runtimes.reactor import GuestInstance, serve
from piecework.worker_agent.runtimes.services import DeniedError, GuestServices, ServiceError
from piecework.worker_agent.runtimes.verdict import GuestFailedError

REQUEST_ID = 1
"""The number of the one request that a guest of the third generation is asked."""


@dataclass(slots=True)
class CapsuleCall:
    """One call of a guest, as the functions of the host see it."""

    call: Call
    generation: Generation
    services: GuestServices
    request: bytes | None = None
    """The HTTP request, for guests that ask for it."""
    pings: int = 0
    placing: bool = False
    """The guest makes room for an answer."""
    body: GuestInstance = field(init=False)

    def ask(self, kind: str, asked: bytes, ask: Callable[[], bytes]) -> bytes:
        """Ask something that is not the same on every node."""
        return ask() if self.call.journal is None else self.call.journal.through(kind, asked, ask)


class CapsuleHost:
    """Serves the guests of one module, one at a time."""

    turn: CapsuleCall

    def __init__(self, generation: Generation, facts: ModuleFacts, linkage: Linkage) -> None:
        """Offer each function with the type that the module imports it with: not all versions have the same."""
        self._generation = generation
        for (module, name), kind in facts.imports.items():
            if module == INTERFACE:
                parameters, results = kind.split(">")
                function = serve(name, self._make(name, answers=bool(results)))
                linkage.define(module, name, parameters, function, answers=bool(results))

    def meet(self, body: GuestInstance) -> None:
        """Serve this guest from now on."""
        self.turn.body = body

    def _make(self, name: str, *, answers: bool) -> HostFunction:
        done = 0 if answers else None

        def log(pointer: int, size: int) -> int | None:
            self.turn.body.log(pointer, size)
            return done

        def answer(*arguments: int) -> int | None:
            self._place(name, self._answer(name, arguments[:-2]), *arguments[-2:])
            return done

        return log if name in SILENT else answer

    def _answer(self, name: str, arguments: tuple[int, ...]) -> bytes:
        """Return what a function answers, as the generation puts it."""
        turn = self.turn
        if turn.placing:
            raise GuestFailedError(f"it called {name} while it made room for an answer")
        try:
            if name == PARAMETERS_GET:
                return _get_request(turn, *arguments)
            if name in UNCONFIGURED:
                raise ServiceError(f"{name}: this node is not configured for NATS or MQTT")
            texts = [turn.body.read(*arguments[place : place + 2]) for place in range(0, len(arguments), 2)]
            answer = FUNCTIONS[name](turn, *texts)
        except (ServiceError, BadRequestError) as error:
            if isinstance(error, DeniedError):
                turn.call.log.write(f"{name} denied: {error}\n".encode())
            return b"" if name in _PLAIN and turn.generation.lettered else put_error(str(error), turn.generation)
        return answer if name in _PLAIN else put_answer(answer, turn.generation)

    def _place(self, name: str, answer: bytes, pointer_cell: int, size_cell: int) -> None:
        """Put an answer into room that the guest makes. Guests trap when asked for none."""
        turn = self.turn
        turn.placing = True
        pointer = turn.body.call("allocateBuffer", max(1, len(answer)))
        turn.placing = False
        if not pointer and answer:
            raise GuestFailedError(f"it has no room for the {len(answer)} bytes that {name} answers")
        turn.body.write(pointer, answer)
        turn.body.write_u32(pointer_cell, pointer)
        turn.body.write_u32(size_cell, len(answer))


def _get_request(turn: CapsuleCall, number: int) -> bytes:
    if number != REQUEST_ID or turn.request is None:
        raise ServiceError("key (requestId) does not exist")
    return turn.request


def _ping(turn: CapsuleCall, text: bytes) -> bytes:
    turn.pings += 1
    return "🏓 pong: ".encode() + text + b" : %d" % turn.pings


def _talk(turn: CapsuleCall, text: bytes) -> bytes:
    turn.call.log.write(text + b"\n")
    return "Hello 😀 I'm the host".encode()


def _get_host_information(turn: CapsuleCall) -> bytes:
    if turn.call.http_port is None:
        return b"{}"
    told = {"httpPort": turn.call.http_port, "capsuleVersion": turn.generation.version}
    return turn.ask("host", b"", lambda: msgspec.json.encode(told))


def _get_env(turn: CapsuleCall, name: bytes) -> bytes:
    wanted = name.decode(errors="replace")
    value = (turn.call.env or {}).get(wanted)
    if not value:
        turn.call.log.write(turn.ask("variable", name, lambda: _explain_no_variable(turn, wanted)))
        raise ServiceError(f"{wanted} is empty")
    return value.encode()


def _explain_no_variable(turn: CapsuleCall, name: str) -> bytes:
    """Return the line that tells what would give a guest a variable; nothing where it was granted."""
    if name in {*(turn.call.env or {}), *turn.call.access.grants.env}:
        return b""
    return f"hostGetEnv denied: {turn.call.access.explain_no_variable(name)}\n".encode()


def _read_file(turn: CapsuleCall, path: bytes) -> bytes:
    return turn.services.read_file(path)


def _write_file(turn: CapsuleCall, path: bytes, content: bytes) -> bytes:
    turn.services.write_file(path, fill_empty(content))
    return b"file created"


def _fetch_body(turn: CapsuleCall, url: bytes, method: bytes, headers: bytes, body: bytes) -> bytes:
    found = split_headers(fill_empty(headers), turn.generation.headers_out)
    where = Request(method.decode(errors="replace").upper(), url.decode(errors="replace"), found, fill_empty(body))
    return turn.services.fetch(where).body


def _fetch(turn: CapsuleCall, request: bytes) -> bytes:
    return write_incoming(turn.services.fetch(read_outgoing(request)))


def _query(turn: CapsuleCall, statement: bytes) -> bytes:
    return turn.services.query(statement)


def _say_set(turn: CapsuleCall, key: bytes, value: bytes) -> bytes:
    return key if turn.generation.lettered else b"[OK](%b:%b)" % (key, value)


def _list(turn: CapsuleCall, keys: list[bytes]) -> bytes:
    if not turn.generation.lettered:
        return turn.generation.arguments.encode().join(keys)
    return msgspec.json.encode({"keys": [key.decode(errors="replace") for key in keys]})


def _redis_set(turn: CapsuleCall, key: bytes, value: bytes) -> bytes:
    turn.services.redis.set(key, value)
    return _say_set(turn, key, value)


def _redis_get(turn: CapsuleCall, key: bytes) -> bytes:
    return _need(turn.services.redis.get(key), "redis: nil")


def _redis_delete(turn: CapsuleCall, key: bytes) -> bytes:
    turn.services.redis.delete(key)
    return key


def _redis_keys(turn: CapsuleCall, pattern: bytes) -> bytes:
    return _list(turn, turn.services.redis.find_keys(pattern))


def _store_set(turn: CapsuleCall, key: bytes, value: bytes) -> bytes:
    turn.services.store.set(key, value)
    return _say_set(turn, key, value)


def _store_get(turn: CapsuleCall, key: bytes) -> bytes:
    return _need(
        turn.services.store.get(key), "key not found" if turn.generation.lettered else "key does not exist"
    )


def _store_delete(turn: CapsuleCall, key: bytes) -> bytes:
    turn.services.store.delete(key)
    return key


def _store_keys(turn: CapsuleCall, pattern: bytes = b"*") -> bytes:
    return _list(turn, turn.services.store.find_keys(pattern))


def _need(value: bytes | None, complaint: str) -> bytes:
    if value is None:
        raise ServiceError(complaint)
    return value


FUNCTIONS: dict[str, Callable[..., bytes]] = {
    "hostGetHostInformation": _get_host_information,
    "hostPing": _ping,
    "hostTalk": _talk,
    "hostHttp": _fetch_body,
    "hostHTTP": _fetch,
    "hostReadFile": _read_file,
    "hostWriteFile": _write_file,
    "hostGetEnv": _get_env,
    "hostRedisSet": _redis_set,
    "hostRedisGet": _redis_get,
    "hostRedisDel": _redis_delete,
    "hostRedisKeys": _redis_keys,
    "hostCouchBaseQuery": _query,
    "hostMemorySet": _store_set,
    "hostMemoryGet": _store_get,
    "hostMemoryKeys": _store_keys,
    "hostCacheSet": _store_set,
    "hostCacheGet": _store_get,
    "hostCacheDel": _store_delete,
    "hostCacheKeys": _store_keys,
    "hostGetExitError": lambda _turn: b"",
    "hostGetExitCode": lambda _turn: b"0",
}
"""What each function does with the texts that it gets. Raises ServiceError with the message of an error answer."""
_PLAIN = {"hostTalk", "hostGetEnv"}
"""Their answers have no letter, also in the fourth generation."""
