"""Dramatiq with Redis as its broker and result store."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from harness.contestant import BIN, DEADLINE_S, WORKERS, Peer, backend_url
from harness.work import answer

broker = RedisBroker(url=backend_url())
broker.add_middleware(Results(backend=RedisBackend(url=backend_url())))
dramatiq.set_broker(broker)
actor = dramatiq.actor(store_results=True, actor_name="answer")(answer)

DEADLINE_MS = int(DEADLINE_S * 1000)
THREADS = 8
"""Its default."""


class Dramatiq(Peer):
    """Dramatiq."""

    def commands(self) -> list[list[str]]:
        return [[str(BIN / "dramatiq"), "peers.dramatiq", "-p", str(WORKERS), "-t", str(THREADS)]]

    def run_all(self, payloads: list[str]) -> list[str | None]:
        group = dramatiq.group(actor.message(payload) for payload in payloads).run()
        return list(group.get_results(block=True, timeout=DEADLINE_MS))

    def run_one(self, payload: str) -> str | None:
        given: str = actor.send(payload).get_result(block=True, timeout=DEADLINE_MS)
        return given
