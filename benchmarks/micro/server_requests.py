"""CPU time of small requests inside the server, view by view, beside a view of plain Flask.

``python benchmarks/micro/server_requests.py [ROUNDS] [--beside PYTHON]`` sends what a job of an agent and one of
v0.5 need, one request after the other, through the whole app; no sockets, no flushes. With the Python of another
checkout both are measured in turns, and the ratios within a round are what counts.
"""

import json
import statistics
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from checkouts import Figures, run
from flask import Flask, jsonify, request

from piecework.http.requests import make_environ
from piecework.server.app import create_app
from piecework.server.settings import Settings

JOBS = 40
"""In a round, of each kind."""
PLAIN = "plain view"
BOUNDARY = "piecework-bench"
RUNTIME = "v05"


class Door:
    """Asks an app in this thread, and notes the CPU time."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.took: dict[str, list[float]] = {}

    def ask(self, name: str, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
        """Send a request and return the answer's body. Raises OSError when it is not a 200."""
        path, _, query = path.partition("?")
        headers = [(b"host", b"127.0.0.1:1991"), (b"accept-encoding", b"identity")]
        if body:
            headers += [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "headers": headers, "server": ("127.0.0.1", 1991),
            "client": ("127.0.0.1", 5000), "scheme": "http",
        }  # fmt: skip
        status: list[str] = []
        began = time.thread_time()
        environ = make_environ(scope, BytesIO(body), underscores=False)
        pieces = self._app(environ, lambda line, _headers, _error=None: status.append(line))
        answered = b"".join(pieces)
        if close := getattr(pieces, "close", None):
            close()
        self.took.setdefault(name, []).append(time.thread_time() - began)
        if not status[0].startswith("200"):
            raise OSError(f"{method} {path}: {status[0]} {answered[:200]!r}")
        return answered

    def tell(self, name: str, method: str, path: str, said: object = None) -> Any:
        """Send JSON and return that of the answer."""
        return json.loads(self.ask(name, method, path, b"" if said is None else json.dumps(said).encode()))

    def upload(self, name: str, data: bytes) -> str:
        """Store a blob as a form and return its id."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="data"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
        return str(
            json.loads(self.ask(name, "POST", "/data", body, f"multipart/form-data; boundary={BOUNDARY}"))["id"]
        )


class RequestBench:
    """An app with one worker of each kind."""

    def __init__(self, folder: Path) -> None:
        self._door = Door(create_app(Settings(data=folder, synchronous="OFF")))
        self._plain = Door(_make_plain())
        tell = self._door.tell
        codex = self._door.upload("", b"code")
        self._lambdas = [
            tell("", "POST", "/lambda", {"codex": codex, "runtime": each})["id"] for each in (RUNTIME, "now")
        ]
        self._old = tell("", "POST", "/worker", {"runtime": [RUNTIME]})["id"]
        self._new = tell("", "POST", "/worker", {"runtime": ["now"], "incarnation": "one", "slots": 1})["id"]
        self._outcomes: list[dict[str, Any]] = []
        self._number = 0

    def measure(self) -> Figures:
        """Return the CPU time of each request, µs, the median of a round."""
        self._door.took, self._plain.took = {}, {}
        for _ in range(JOBS):
            self._number += 1
            self._plain.tell(PLAIN, "POST", "/plain", {"id": "1", "timeout": 0})
            self._door.ask("ping", "GET", "/ping")
            self._run_old(f"{self._number:08}".encode().ljust(64))
            self._run_new(f"{self._number:08}".ljust(64))
        took = self._plain.took | self._door.took
        figures = {name: statistics.median(times) * 1e6 for name, times in took.items() if name}
        for kind in ("v0.5", "now"):
            figures[f"{kind}: job"] = sum(took for name, took in figures.items() if name.startswith(kind))
        return figures

    def _run_old(self, data: bytes) -> None:
        tell = self._door.tell
        blob = self._door.upload("v0.5: POST /data", data)
        job = tell("v0.5: POST /job", "POST", "/job", {"input": blob, "lambda": self._lambdas[0]})["id"]
        asked = {"id": self._old, "timeout": 20}
        got = tell("v0.5: POST /contract", "POST", f"/worker/{self._old}/contract", asked)["job"]
        assert got == job
        info = tell("v0.5: GET /job", "GET", f"/job/{job}")
        given = self._door.ask("v0.5: GET /data/blob", "GET", f"/data/{info['input']['id']}/blob")
        output = self._door.upload("v0.5: POST /data, output", given)
        tell("v0.5: POST /job/id", "POST", f"/job/{job}", {"status": "finished", "output": output})
        info = tell("v0.5: GET /job, wait", "GET", f"/job/{job}?except=Finished&timeout=20")
        assert self._door.ask("v0.5: GET /data/blob, output", "GET", f"/data/{info['output']['id']}/blob") == data

    def _run_new(self, text: str) -> None:
        tell = self._door.tell
        spec = {"lambda": self._lambdas[1], "input": {"text": text}}
        job = tell("now: POST /job", "POST", "/job", spec)["id"]
        asked = {
            "incarnation": "one",
            "max": 1,
            "timeout": 0,
            "inline_max_bytes": 1024,
            "outcomes": self._outcomes,
        }
        [got] = tell("now: contract", "POST", f"/worker/{self._new}/contract", asked)["jobs"]
        outcome = {"job": got["job"], "lease": got["lease"], "state": "Finished", "output": {"text": text}}
        asked |= {"max": 0, "outcomes": [outcome]}
        tell("now: contract, outcome", "POST", f"/worker/{self._new}/contract", asked)
        tell("now: GET /job, wait", "GET", f"/job/{job}?except=Finished&timeout=20")


def _make_plain() -> Flask:
    """Return an app that does nothing but read and write JSON."""
    app = Flask("plain")

    @app.post("/plain")
    def answer() -> Any:
        return jsonify(id=request.get_json()["id"], status="ok")

    return app


if __name__ == "__main__":
    run(RequestBench, __doc__)
