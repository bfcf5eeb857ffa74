"""The journal of a recorded job is kept beside it, under each engine and of whatever a guest reaches."""

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from guests import guest
from machine_code import share_compiled

from piecework import Client
from piecework.client.errors import JobFailed
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.messages import Digests, Grants, JobInfo, Usage, given
from piecework.receipts.journals import JournalReader

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0
SCRIPT = """
import os, random, sys, time
print(time.time_ns(), random.random(), os.environ["PLACE"], open("/data/a").read())
"""


class Site(BaseHTTPRequestHandler):
    """Says hello."""

    def do_GET(self) -> None:
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def nodes(server: LocalServer, site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two agents that let guests reach something, one with another engine; yields the folder that both share."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "data").mkdir()
    (folder / "data" / "a").write_text("of the node")
    reach = ["--allow-http", site, "--allow-http", "127.0.0.1/32", "--allow-dir", f"{folder / 'data'}=/data",
             "--allow-env", "PLACE"]  # fmt: skip
    env = os.environ | {"PLACE": "here"}
    for name in ("one", "two"):
        share_compiled(folder / name)
    agents = [
        LocalAgent(server.url, folder, "one", "--slots", "1", "--tag", "one", *reach, environ=env),
        LocalAgent(server.url, folder, "two", "--slots", "1", "--engine", "pulley", *reach, environ=env),
    ]
    yield folder
    stop_together(agents)


def run(client: Client, lambda_id: int, content: bytes = b"", tag: str = "+one") -> tuple[JobInfo, Digests]:
    job = client.submit(lambda_id, content, tags=[tag], max_attempts=1)
    client.result(job, PATIENCE_S)
    info = client.job(job)
    assert isinstance(info.usage, Usage)
    assert info.usage.digests is not None
    return info, info.usage.digests


def read_journal(client: Client, info: JobInfo, digests: Digests) -> list[str]:
    """Return who was asked, in order."""
    blob = given(info.journal)
    assert blob is not None
    data = client.read(blob)
    assert hashlib.sha256(data).hexdigest() == digests.journal
    assert not digests.journal_cut
    return [entry.kind for entry in JournalReader(data).read()]


@pytest.mark.parametrize("tag", ["+one", "+engine:pulley"])
def test_the_journal_of_a_job_has_what_it_was_told(client: Client, nodes: Path, site: str, tag: str):
    lambda_id = client.create_lambda(guest("funless_fetch"), "funless", record=True, grants=Grants(http=[site]))
    info, digests = run(client, lambda_id, f'"http://{site}/"'.encode(), tag)
    assert read_journal(client, info, digests) == ["grants", "http"]


def test_jobs_that_are_alike_have_other_random_numbers(client: Client, nodes: Path):
    grants = Grants(dirs=["/data"], env=["PLACE"])
    lambda_id = client.create_lambda(SCRIPT.encode(), "python3.12", record=True, grants=grants)
    jobs = client.submit_many(lambda_id, [b"", b"", b""], tags=["+one"])
    outputs = [client.result(job, PATIENCE_S).split() for job in jobs]
    assert len({output[1] for output in outputs}) == 3
    assert outputs[0][2:] == [b"here", b"of", b"the", b"node"]
    info = client.job(jobs[0])
    assert isinstance(info.usage, Usage)
    assert info.usage.digests is not None
    assert {"clock", "file", "grants", "folders"} <= set(read_journal(client, info, info.usage.digests))


def test_entries_of_a_namespace_are_in_the_journal(client: Client, nodes: Path):
    space = client.create_namespace()
    grants = Grants(kv=[f"n={space}:rw"])
    lambda_id = client.create_lambda(guest("keep_values"), record=True, grants=grants, args=["n", "add", "k", "5"])
    for _ in range(2):
        info, digests = run(client, lambda_id)
        assert read_journal(client, info, digests) == ["grants", "folders", "namespace", "kv"]


def test_a_failed_job_has_its_journal_too(client: Client, nodes: Path):
    lambda_id = client.create_lambda(guest("crash"), record=True)
    job = client.submit(lambda_id, b"x", tags=["+one"], max_attempts=1)
    with pytest.raises(JobFailed):
        client.result(job, PATIENCE_S)
    info = client.job(job)
    assert isinstance(info.usage, Usage)
    assert info.usage.digests is not None
    assert "grants" in read_journal(client, info, info.usage.digests)


def test_a_large_journal_is_uploaded(client: Client, nodes: Path):
    code = b"import time\nfor _ in range(60000): time.time_ns()\nprint('done')"
    lambda_id = client.create_lambda(code, "python3.12", record=True)
    info, digests = run(client, lambda_id)
    assert len(read_journal(client, info, digests)) > 60_000
