"""Celery with Redis as its broker and result store."""

import celery
from harness.contestant import BIN, DEADLINE_S, WORKERS, Peer, backend_url
from harness.work import answer

app = celery.Celery("bench", broker=backend_url(), backend=backend_url())
app.conf.update(
    # Its manual: 50 to 150 for many short tasks.
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)
task = app.task(name="answer")(answer)


class Celery(Peer):
    """Celery."""

    def commands(self) -> list[list[str]]:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
        worker = ["worker", "--pool", "prefork", "--concurrency", str(WORKERS)]
        return [[str(BIN / "celery"), "--app", "peers.celery:app", *worker, *quiet]]

    def run_all(self, payloads: list[str]) -> list[str | None]:
        results = celery.group(task.s(payload) for payload in payloads).apply_async()
        answers: list[str | None] = results.get(timeout=DEADLINE_S)
        return answers

    def run_one(self, payload: str) -> str | None:
        given: str = task.delay(payload).get(timeout=DEADLINE_S)
        return given
