"""Procrastinate on PostgreSQL."""

import procrastinate
from harness.contestant import BIN, WORKERS, AsyncPeer, backend_url
from harness.work import answer
from procrastinate.job_context import JobContext

from peers.result_table import ResultTable

CONCURRENCY = 10

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=backend_url()))


@app.task(name="answer", pass_context=True)
async def run_answer(context: JobContext, payload: str) -> None:
    """Do a job; the worker calls this."""
    assert context.job.id is not None
    await context.app.connector.execute_query_async(
        "INSERT INTO results VALUES (%(id)s, %(result)s)", id=context.job.id, result=answer(payload)
    )


class Procrastinate(AsyncPeer):
    """Procrastinate."""

    def prepare(self) -> None:
        self._results = ResultTable()
        self.wait(self._results.create())
        self.wait(app.open_async())
        self.wait(app.schema_manager.apply_schema_async())

    def commands(self) -> list[list[str]]:
        command = [str(BIN / "procrastinate"), "--app", "peers.procrastinate.app", "worker"]
        return [[*command, "-c", str(CONCURRENCY)]] * WORKERS

    def run_all(self, payloads: list[str]) -> list[str | None]:
        ids = self.wait(run_answer.batch_defer_async(*({"payload": payload} for payload in payloads)))
        return self.wait(self._results.read(ids))

    def run_one(self, payload: str) -> str | None:
        id_ = self.wait(run_answer.defer_async(payload=payload))
        return self.wait(self._results.read([id_]))[0]
