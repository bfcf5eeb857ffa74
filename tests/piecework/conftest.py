"""What the tests of the client and of the command share."""

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import structlog
from house import House
from patience import LONG_S
from werkzeug.serving import WSGIRequestHandler, make_server

from piecework.client import Client, ServerUnreachable
from piecework.client.async_transport import AsyncTransport
from piecework.client.transport import Transport
from piecework.protocol import bodies
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import (
    Content,
    ContractRequest,
    JobError,
    MadeFile,
    Outcome,
    Usage,
    WorkerRegister,
)
from piecework.protocol.states import JobState
from piecework.server.services import system_clock


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Nothing pauses between repeats; the pauses that there would have been, seconds."""
    asked = []

    async def rest(seconds):
        asked.append(seconds)

    monkeypatch.setattr(Transport, "pause", staticmethod(asked.append))
    monkeypatch.setattr(AsyncTransport, "rest", staticmethod(rest))
    return asked


@dataclass
class Answer:
    """One answer that the scripted server gives."""

    message: object = None
    status: int = 200
    body: bytes | None = None
    headers: dict = field(default_factory=dict)
    hang_up: bool = False
    """Close the connection without an answer."""
    announced_bytes: int | None = None
    """Announce another length than the body's: the answer breaks off."""
    hold: threading.Event | None = None
    """Answer only when this is set."""


@dataclass
class Seen:
    """One request that the scripted server got."""

    method: str
    path: str
    headers: dict
    body: bytes
    connection: tuple


class ScriptedServer:
    """A real HTTP server that gives prepared answers, in order, and remembers the requests."""

    def __init__(self):
        self.answers = []
        self.seen = []
        self._arrivals = threading.Semaphore(0)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, message=None, **options):
        self.answers.append(Answer(message, **options))

    def wait_for_requests(self, count):
        """Wait until so many more requests have come."""
        assert all(self._arrivals.acquire(timeout=LONG_S) for _ in range(count))

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self):
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = dict(self.headers.items())
                script.seen.append(Seen(self.command, self.path, headers, body, self.client_address))
                script._arrivals.release()
                self.give(script.answers.pop(0))

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  # http.server calls them so

            def give(self, answer):
                if answer.hold is not None:
                    answer.hold.wait(10)
                if answer.hang_up:
                    self.close_connection = True
                    return
                content = bodies.encode(answer.message) if answer.body is None else answer.body
                self.send_response(answer.status)
                headers = {"Content-Type": bodies.JSON, "Content-Length": str(len(content))} | answer.headers
                if answer.announced_bytes is not None:
                    headers["Content-Length"] = str(answer.announced_bytes)
                    self.close_connection = True
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        return Handler


@pytest.fixture
def script():
    server = ScriptedServer()
    yield server
    server.close()


other_script = script
"""A second one."""


class Shared:
    """What all tests of this folder use, made for the first that asks for it."""

    def __init__(self):
        self._made, self._ends = {}, ExitStack()

    def get(self, make, *args):
        if make not in self._made:
            self._made[make] = self._ends.enter_context(make(*args))
        return self._made[make]

    def end(self):
        self._made.clear()
        self._ends.close()


SHARED = Shared()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem):
    """Let no thread of ours go on while tests of other folders measure what they do."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        SHARED.end()


@contextmanager
def run_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    logged = (folder / "server.log").open("w")  # not where tests read what commands print
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(logged))
    house = House(folder, settings={"webhook_private": "127.0.0.1"}, clock=system_clock)
    house.services.start()
    http = make_server("127.0.0.1", 0, house.app, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    house.services.release_waiters()
    http.server_close()
    thread.join()
    house.close()
    structlog.reset_defaults()
    logged.close()


@pytest.fixture
def server_url(tmp_path_factory):
    """The real control server, on SQLite, behind a real socket."""
    return SHARED.get(run_server, tmp_path_factory)


@pytest.fixture(scope="module")
def new_server():
    """The server of a module whose lambdas must be counted: of a minute only two hundred are, each by itself."""
    SHARED.end()


class QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *args):
        pass


@pytest.fixture
def client(server_url):
    with Client(server_url) as client:
        yield client


@contextmanager
def run_worker(url):
    worker = ShoutingWorker(url)
    worker.start()
    yield worker
    worker.stop()


@pytest.fixture
def worker(server_url):
    """A worker that runs the jobs of the runtimes ``test`` and ``wasi``."""
    return SHARED.get(run_worker, server_url)


class ShoutingWorker(threading.Thread):
    """A worker whose every function is told by the job's first argument; without one it shouts its input.

    It speaks the protocol through the client's own calls, as an agent does.
    """

    def __init__(self, url):
        super().__init__()
        self.client = Client(url)
        self.id = self.client.register(WorkerRegister(runtime=["test", "wasi"], name="shouter", tags=["near"])).id
        self._stopping = threading.Event()

    def run(self):
        outcomes = []
        while not self._stopping.is_set():
            request = ContractRequest(
                timeout=0.2, max=50, inline_max_bytes=1000, outcomes=outcomes, tags=["files"]
            )
            try:
                reply = self.client.contract(self.id, request)
            except ServerUnreachable:  # a test bent the way that connections take
                continue
            outcomes = [self.execute(job) for job in reply.jobs]

    def shout(self, file):
        return MadeFile(name=f"{file.name}.up", content=Content(raw=self.client.read(file.blob).upper()))

    def stop(self):
        self._stopping.set()
        self.join()
        self.client.retire_worker(self.id)
        self.client.close()

    def execute(self, job):
        done = Outcome(job=job.job, lease=job.lease, state=JobState.FINISHED, usage=Usage(wall_s=0.25))
        content = job.input
        if job.folder:
            done.made = [self.shout(file) for file in job.folder.files if job.folder.outputs]
        given = content.read() if content.is_inline else self.client.read(content.id) if content.id else b""
        match job.args:
            case ["fail", reason]:
                done.state, done.error = JobState.FAILED, JobError(kind=ErrorKind.GUEST, message=reason)
            case ["fail-on", word] if given == word.encode():
                done.state, done.error = JobState.FAILED, JobError(kind=ErrorKind.GUEST, message=f"not {word}")
            case ["repeat", times]:
                done.output = Content(id=self.client.upload(given * int(times)).id)
            case ["log", text]:
                done.log = text.encode()
            case ["complain", text]:
                done.state, done.error = JobState.FAILED, JobError(kind=ErrorKind.GUEST, message=text)
                done.log = f"{text} {job.attempt}".encode()
            case ["env"]:
                done.output = Content(raw=" ".join(f"{k}={v}" for k, v in job.env.items()).encode())
            case ["same"]:
                done.output = Content(raw=given)
            case _:
                done.output = Content(raw=given.upper())
        return done
