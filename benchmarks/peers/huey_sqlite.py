"""Huey on SQLite, with its defaults for durability (WAL, synchronous=FULL) and a quicker poll than its 0.1 s."""

from harness.contestant import BIN, DEADLINE_S, WORKERS, Peer, backend_url
from harness.work import answer
from huey import SqliteHuey

app = SqliteHuey("bench", filename=backend_url())
task = app.task(name="answer")(answer)

POLL_S = 0.005
POLL_MAX_S = 0.05


class HueySqlite(Peer):
    """Huey on SQLite."""

    def commands(self) -> list[list[str]]:
        poll = ["-d", str(POLL_S), "-m", str(POLL_MAX_S)]
        consumer = [str(BIN / "huey_consumer"), "peers.huey_sqlite.app"]
        return [[*consumer, "-w", str(WORKERS), "-k", "process", "-q", *poll]]

    def run_all(self, payloads: list[str]) -> list[str | None]:
        return list(task.map(payloads).get(blocking=True, timeout=DEADLINE_S, max_delay=POLL_MAX_S))

    def run_one(self, payload: str) -> str | None:
        given: str = task(payload).get(blocking=True, timeout=DEADLINE_S, backoff=1, max_delay=POLL_S)
        return given
