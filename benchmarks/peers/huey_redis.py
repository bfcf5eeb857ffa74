"""Huey on Redis. Waiting for a result blocks in Redis (``notify_result``) instead of asking again and again."""

from harness.contestant import BIN, DEADLINE_S, WORKERS, Peer, backend_url
from harness.work import answer
from huey import RedisHuey

app = RedisHuey("bench", url=backend_url(), notify_result=True)
task = app.task(name="answer")(answer)


class HueyRedis(Peer):
    """Huey on Redis."""

    def commands(self) -> list[list[str]]:
        return [[str(BIN / "huey_consumer"), "peers.huey_redis.app", "-w", str(WORKERS), "-k", "process", "-q"]]

    def run_all(self, payloads: list[str]) -> list[str | None]:
        return list(task.map(payloads).get(blocking=True, timeout=DEADLINE_S))

    def run_one(self, payload: str) -> str | None:
        given: str = task(payload).get(blocking=True, timeout=DEADLINE_S)
        return given
