"""Services of a recorded run, asked directly: Couchbase, the store of served functions, and redirects."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from piecework.http.exchange import Request
from piecework.protocol.messages import Grants
from piecework.receipts.journals import JournalReader
from piecework.worker_agent.runtimes.journal.player import Player
from piecework.worker_agent.runtimes.journal.recorder import Recorder
from piecework.worker_agent.runtimes.services import DeniedError, GuestServices, ServiceError
from piecework.worker_agent.runtimes.services.access import CouchbaseServer, NodeRules, Permissions
from piecework.worker_agent.runtimes.services.store import MemoryStore
from piecework.worker_agent.runtimes.stopping import StopSignal


class Site(BaseHTTPRequestHandler):
    """Answers statements with rows, and /away with a redirect."""

    def do_GET(self):
        self.send_response(302 if self.path == "/away" else 200)
        if self.path == "/away":
            self.send_header("Location", "/here")
        self.end_headers()
        self.wfile.write(b"\xff\x00 bytes")

    def do_POST(self):
        statement = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        wrong = b'{"status": "fatal", "errors": [{"msg": "no such bucket"}]}'
        self.wfile.write(wrong if b"nothing" in statement else b'{"status": "success", "results": [{"a": 1}]}')

    def log_message(self, *_arguments):
        """Nobody reads it."""


@pytest.fixture
def record(tmp_path):
    """Return a function that uses services twice: recorded, and replayed with nothing granted."""

    def record_and_replay(use, access, store=None):
        recorder = Recorder(str(tmp_path / "journal"), StopSignal())
        with GuestServices(access, StopSignal(), store, recorder) as services:
            then = use(services)
        journal = recorder.finish()
        player = Player(journal, StopSignal())
        with GuestServices(
            Permissions(sealed=True), StopSignal(), None if store is None else MemoryStore(), player
        ) as services:
            assert use(services) == then
        assert player.find_difference() is None
        return then, [*JournalReader(journal).read()]

    return record_and_replay


@pytest.fixture
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_port
        server.shutdown()


def catch(act):
    """Return what comes of it, or what is raised."""
    try:
        return act()
    except ServiceError as error:
        return type(error), str(error)


def test_statements_are_recorded_with_rows_and_refusals(record, site):
    where = f"127.0.0.1:{site}"
    access = Permissions(Grants(http=[where]), NodeRules(couchbase=CouchbaseServer("127.0.0.1", site)))

    def use(services):
        return [catch(lambda text=text: services.query(text)) for text in (b"SELECT 1", b"SELECT nothing")]

    then, entries = record(use, access)
    assert then == [b'[{"a": 1}]', (ServiceError, "Couchbase: no such bucket")]
    assert [(entry.kind, entry.asked) for entry in entries] == [("n1ql", b"SELECT 1"), ("n1ql", b"SELECT nothing")]


def test_a_redirect_is_one_request_and_bytes_stay_as_they_are(record, site):
    where = f"127.0.0.1:{site}"
    access = Permissions(Grants(http=[where]), NodeRules(http=(where, "127.0.0.1/32")))
    then, entries = record(lambda services: services.fetch(Request("GET", f"http://{where}/away")), access)
    assert (then.status, then.body) == (200, b"\xff\x00 bytes")
    assert len(entries) == 1


def test_a_store_that_others_share_is_recorded(record):
    store = MemoryStore()
    store.set(b"theirs", b"old")

    def use(services):
        kept = services.store
        kept.set_default(b"theirs", b"not taken")
        kept.set_default(b"mine", b"new")
        kept.set(b"other", b"\x00")
        found = [kept.get(b"theirs"), kept.get(b"none"), kept.find_keys(b"*")]
        kept.delete(b"mine")
        return [*found, catch(lambda: kept.find_keys(b"x" * 2000)), kept.find_keys(b"m*")]

    then, entries = record(use, Permissions(), store)
    assert then[:3] == [b"old", None, [b"mine", b"other", b"theirs"]]
    assert then[3] == (ServiceError, "the pattern is longer than 1000 bytes")
    assert {entry.kind for entry in entries} == {"store"}


def test_what_is_denied_is_denied_again_by_the_same_words(record):
    access = Permissions(Grants(), NodeRules())

    def use(services):
        acts = (
            lambda: services.redis.get(b"k"),
            lambda: services.query(b"SELECT 1"),
            lambda: services.read_file(b"a"),
            lambda: services.write_file(b"a", b"content"),
            lambda: services.fetch(Request("GET", "http://a.test/")),
        )
        return list(map(catch, acts))

    then, entries = record(use, access)
    assert {kind for kind, _ in then} == {DeniedError}
    assert [entry.failure for entry in entries] == ["denied"] * 5
    assert entries[3].asked == b"a\x00content"
