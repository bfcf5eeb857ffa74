"""A client of the v0.5 API as they were written years ago: plain HTTP, literal comparisons, nothing forgiven.

It knows nothing of this project. JSON goes out without a content type, also with GET; a key that it does not know
in a reply crashes it, but for the job's info and the contract; its read timeout is the timeout that it asks for.
"""

import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

JSON = "application/json"
BINARY = "application/octet-stream"
BOUNDARY = "----v05boundary7MA4YWxk"
READ_TIMEOUT_S = 20

Execute = Callable[[bytes, bytes], bytes]
"""Runs a lambda's code on an input. Raises RuntimeError when it fails."""


class V05Error(Exception):
    """The server answered what this client does not understand, or an error."""


@dataclass(frozen=True)
class Names:
    """How one generation of clients calls the fields."""

    runtimes: str = "runtime"
    codex: str = "codex"
    input: str = "input"
    lambda_: str = "lambda"
    tags: str = "tags"
    worker: str = "id"
    state: str = "status"
    registered: str = "id"
    submitted: str = "id"
    extra_keys: frozenset[str] = frozenset()
    """What its replies have beside the keys of the newest generation."""


NEWEST = Names()
OLDEST = Names(
    runtimes="execulator",
    codex="code_id",
    input="input_id",
    lambda_="functio",
    tags="extra_tag",
    worker="worker_id",
    state="state",
    registered="wid",
    submitted="jid",
    extra_keys=frozenset({"wid", "jid"}),
)


@dataclass
class V05Api:
    """The requests, one method each."""

    url: str
    names: Names = NEWEST

    def upload(self, content: bytes) -> str:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        reply = self.call("POST", "/data", body, content_type=f"multipart/form-data; boundary={BOUNDARY}")
        return self.strict(reply, "id", "checksum")["id"]

    def download(self, blob: str) -> bytes:
        status, kind, body = self.send("GET", f"/data/{blob}/blob")
        if status == 200 and kind == BINARY:
            return body
        if status == 404 and kind == JSON:
            raise V05Error(json.loads(body)["message"])
        raise V05Error(f"{status} {kind}")

    def create_lambda(self, codex: str, runtime: str) -> str:
        reply = self.post("/lambda", {self.names.codex: codex, "runtime": runtime})
        return self.strict(reply, "id")["id"]

    def submit(self, lambda_: str, input_: str, tags: list[str] | None = None) -> str:
        body = {self.names.lambda_: lambda_, self.names.input: input_, self.names.tags: tags}
        return self.strict(self.post("/job", body), "id")[self.names.submitted]

    def job(self, job: str, query: str = "") -> dict[str, Any]:
        return self.call("GET", f"/job/{job}{query}", json.dumps({"job_id": job}).encode())

    def register(self, *runtimes: str) -> str:
        reply = self.post("/worker", {self.names.runtimes: list(runtimes)})
        return self.strict(reply, "id", "runtime")[self.names.registered]

    def contract(self, worker: str, timeout_s: int) -> str | None:
        """Return a job to run, None when there is none."""
        body = {self.names.worker: worker, self.names.tags: [], "timeout": timeout_s}
        reply = self.call("POST", f"/worker/{worker}/contract", json.dumps(body).encode(), timeout_s=timeout_s)
        job: str | None = reply.get("job")
        return job

    def report(self, job: str, state: str, output: str) -> None:
        reply = self.post(f"/job/{job}", {self.names.state: state, "output": output})
        self.strict(reply)

    def create_namespace(self, consistency: str | None = None) -> str:
        """Make a namespace. Who names a consistency knows no status in the reply, and the others miss it."""
        body = {} if consistency is None else {"consistency": consistency}
        status, kind, answer = self.send("POST", "/kv", json.dumps(body).encode())
        reply = json.loads(answer)
        wanted = {"code", "id"} if consistency else {"code", "status", "id"}
        if (status, kind, reply["code"], reply.keys()) != (200, JSON, 0, wanted):
            raise V05Error(f"{status} {kind}: {reply}")
        namespace: str = reply["id"]
        return namespace

    def has_namespace(self, namespace: str) -> bool:
        body = json.dumps({"id": namespace}).encode()
        return bool(self._exact(self.call("GET", f"/kv/{namespace}", body), "id")["id"] == namespace)

    def set_value(self, namespace: str, key: str, value: str, **options: Any) -> str:
        """Set a value; ``key`` is put into the path as it is. Return the value of the reply."""
        body = {"value": value, "expire": 0, "get": False, "append": False} | options
        found: str = self._exact(self.post(f"/kv/{namespace}/field/{key}", body), "value")["value"]
        return found

    def get_value(self, namespace: str, key: str) -> str:
        found: str = self._exact(self.call("GET", f"/kv/{namespace}/field/{key}"), "value")["value"]
        return found

    def _exact(self, reply: dict[str, Any], *keys: str) -> dict[str, Any]:
        """Return a reply that has exactly these keys: nothing else fits into the class that it is read into."""
        if reply.keys() != {"code", "status", *keys}:
            raise V05Error(f"other keys in {reply}")
        return reply

    def post(self, path: str, body: object) -> dict[str, Any]:
        return self.call("POST", path, json.dumps(body).encode())

    def call(self, method: str, path: str, body: bytes = b"", **more: Any) -> dict[str, Any]:
        """Send a request and return its JSON answer. Raises V05Error for every other answer."""
        status, kind, answer = self.send(method, path, body, **more)
        if status != 200 or kind != JSON:
            raise V05Error(f"{status} {kind}: {answer!r}")
        reply: dict[str, Any] = json.loads(answer)
        if reply["code"] not in {0, 1299} or reply["status"] != "ok":
            raise V05Error(f"{reply}")
        return reply

    def send(
        self, method: str, path: str, body: bytes = b"", *, content_type: str = "", timeout_s: int = READ_TIMEOUT_S
    ) -> tuple[int, str | None, bytes]:
        """Send a request over a connection of its own; return status, content type and body of the answer."""
        base = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(base.hostname), base.port, timeout=timeout_s)
        headers = {"Content-Type": content_type} if content_type else {}
        connection.request(method, base.path.rstrip("/") + path, body, headers)
        response = connection.getresponse()
        answer = response.status, response.getheader("Content-Type"), response.read()
        connection.close()
        return answer

    def strict(self, reply: dict[str, Any], *keys: str) -> dict[str, Any]:
        """Return the reply. Raises V05Error when it has a key that this generation does not know, or lacks one."""
        unknown = reply.keys() - {"code", "status", "message", *keys} - self.names.extra_keys
        if unknown or set(keys) - reply.keys():
            raise V05Error(f"unknown keys {unknown} in {reply}")
        return reply


@dataclass
class V05Requester:
    """Someone who has work to do."""

    api: V05Api

    def run(self, code: bytes, runtime: str, content: bytes, patience_s: int = READ_TIMEOUT_S) -> bytes:
        """Run code on an input and return the output. Raises V05Error when the job does not finish."""
        codex = self.api.upload(code)
        job = self.api.submit(self.api.create_lambda(codex, runtime), self.api.upload(content))
        return self.fetch(job, patience_s)

    def fetch(self, job: str, patience_s: int = READ_TIMEOUT_S) -> bytes:
        """Wait for a job and return its output, read in the old way and in the new one."""
        info = self.api.job(job, f"?except=Finished&timeout={patience_s - 1}")
        if info["state"] != "Finished" or info["job_status"] != "Finished":
            raise V05Error(f"the job is {info['state']}")
        assert info["output"]["id"] == info["job_output_id"]
        return self.api.download(info["job_output_id"])


@dataclass
class V05Worker:
    """Someone who does it. ``configuration`` is where it keeps its id."""

    api: V05Api
    execute: Execute
    runtimes: tuple[str, ...] = ()
    configuration: dict[str, str] = field(default_factory=dict)
    codices: dict[str, bytes] = field(default_factory=dict)
    contract_s: int = 2
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Work until told to stop: the loop of the protocol page."""
        if "worker" not in self.configuration:
            self.configuration["worker"] = self.api.register(*self.runtimes)
        while not self.stop.is_set():
            job = self.api.contract(self.configuration["worker"], self.contract_s)
            if job is not None:
                self.work_on(job)

    def work_on(self, job: str) -> None:
        """Do one job and report."""
        context = self.api.job(job)
        content = self.api.download(context["input"]["id"])
        codex = context["lambda"]["codex"]
        if codex not in self.codices:
            self.codices[codex] = self.api.download(codex)
        try:
            output = self.execute(self.codices[codex], content)
        except RuntimeError:
            self.api.report(job, "failed", "0")
        else:
            self.api.report(job, "finished", self.api.upload(output))
