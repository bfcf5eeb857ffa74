"""The requests of a house, sent to a server that runs."""

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class LiveAnswer(NamedTuple):
    status_code: int
    data: bytes


class LiveDoor:
    """What a ``SigningWorker`` needs of a house, over HTTP."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self.client = self

    def post(self, path: str, data: bytes, content_type: str) -> LiveAnswer:
        return self._send("POST", path, data, content_type)

    def call(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = self._send(method, path, json.dumps(body).encode(), "application/json")
        assert answer.status_code == status, answer
        return json.loads(answer.data)

    def contract(self, worker: str, **fields: Any) -> Any:
        return self.call("POST", f"/worker/{worker}/contract", {"max": 1, "timeout": 0} | fields)

    def _send(self, method: str, path: str, data: bytes, content_type: str) -> LiveAnswer:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            connection.request(method, path, data, {"Content-Type": content_type})
            answer = connection.getresponse()
            return LiveAnswer(answer.status, answer.read())
        finally:
            connection.close()
