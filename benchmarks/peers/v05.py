"""A v0.5 client and a v0.5 worker as they were written: one plain HTTP request for each step, JSON, no batches.

``python -m peers.v05 HOST:PORT`` runs a worker until it is ended.
"""

import http.client
import json
import sys
from typing import Any

from harness.work import answer

BOUNDARY = "piecework-bench"
RUNTIME = "v05"
POLL_S = 20


class Connection:
    """One connection that is kept open."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=60)

    def send(self, method: str, path: str, body: bytes | None = None, media_type: str = "") -> bytes:
        """Send a request and return the answer's body. Raises OSError when it is not a 200."""
        self._connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
        response = self._connection.getresponse()
        data = response.read()
        if response.status != http.HTTPStatus.OK:
            raise OSError(f"{method} {path}: {response.status} {data[:200]!r}")
        return data

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send JSON and return the JSON of the answer."""
        answered: dict[str, Any] = json.loads(
            self.send("POST", path, json.dumps(body).encode(), "application/json")
        )
        return answered

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON of an answer."""
        answered: dict[str, Any] = json.loads(self.send("GET", path))
        return answered

    def upload(self, data: bytes) -> str:
        """Store a blob and return its id."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="data"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
        answered = json.loads(self.send("POST", "/data", body, f"multipart/form-data; boundary={BOUNDARY}"))
        return str(answered["id"])

    def read(self, blob: str) -> bytes:
        """Return a blob's bytes."""
        return self.send("GET", f"/data/{blob}/blob")


class Submitter:
    """The client's side: two requests to submit a job, two to read its result."""

    def __init__(self, address: str) -> None:
        self._connection = Connection(address)
        self._lambda = self._connection.post("/lambda", {"codex": "0", "runtime": RUNTIME})["id"]

    def submit(self, payload: str) -> str:
        """Submit a job and return its id."""
        blob = self._connection.upload(payload.encode())
        return str(self._connection.post("/job", {"input": blob, "lambda": self._lambda})["id"])

    def read_result(self, job: str) -> str | None:
        """Wait for a job and return what it answered; None when it did not finish."""
        info = self._connection.get(f"/job/{job}?except=Finished&timeout={POLL_S}")
        if info["state"] != "Finished":
            return None
        return self._connection.read(info["output"]["id"]).decode()


def work_for(address: str) -> None:
    """Contract one job after the other and do it: five requests each."""
    connection = Connection(address)
    worker = connection.post("/worker", {"runtime": [RUNTIME]})["id"]
    while True:
        contracted = connection.post(f"/worker/{worker}/contract", {"id": worker, "timeout": POLL_S})
        if "job" not in contracted:
            continue
        job = contracted["job"]
        info = connection.get(f"/job/{job}")
        answered = answer(connection.read(info["input"]["id"]).decode())
        connection.post(f"/job/{job}", {"status": "finished", "output": connection.upload(answered.encode())})


if __name__ == "__main__":
    work_for(sys.argv[1])
