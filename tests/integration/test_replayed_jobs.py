"""Receipts of real jobs, replayed from bundles on this machine under each engine: they come to the same."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guests import guest

from piecework import Client
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, Grants, given
from piecework.receipts import Bundle, read_receipt, verify_receipt, write_bundle
from piecework.receipts.canonical import encode_canonical
from piecework.receipts.parts import write_list
from piecework.worker_agent.replaying.replay import ReplayNode, replay
from piecework.worker_agent.runtimes import ENGINES

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0
BUILD = Path(__file__).parents[2] / "build" / "tests"
SCRIPT = """
import os, random, sys, time
open("/out.txt", "w").write(open("/given.txt").read() + open("/data/a").read())
print(time.time_ns(), random.random(), os.environ["PLACE"], sys.argv[1:], sys.stdin.read())
print(os.stat("/given.txt").st_ino, os.listdir("/data"), os.listdir("/tmp"))
time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def folder(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an agent that gives guests a directory and a variable."""
    made = tmp_path_factory.mktemp("node")
    (made / "data").mkdir()
    (made / "data" / "a").write_text("; of the node")
    options = [
        "--slots",
        "1",
        "--tag",
        "replayed",
        "--allow-dir",
        f"{made / 'data'}=/data",
        "--allow-env",
        "PLACE",
    ]
    agent = LocalAgent(server.url, made, "node", *options, environ=os.environ | {"PLACE": "here"})
    yield made
    stop_together([agent])


def gather_parts(client: Client, job: Id) -> dict[str, bytes | Path]:
    """Return all that a job's receipt can name, by digest."""
    info = client.job(job)
    lambda_ = client.lambda_(info.lambda_.id)
    lists = [
        [(each.name, client.read(each.blob)) for each in given(found) or []] for found in (info.files, info.made)
    ]
    output = info.output.id if isinstance(info.output, Content) else given(info.failed_output)
    blobs = [lambda_.codex, info.input.id, output, given(info.journal)]
    parts = [client.read(Id(blob)) if isinstance(blob, str | int) and int(blob) else b"" for blob in blobs]
    parts += [encode_canonical(given(info.args) or []), encode_canonical(given(info.env) or {})]
    for listed in lists:
        parts += [data for _, data in listed]
        parts.append(write_list([(name, hashlib.sha256(data).hexdigest()) for name, data in listed]))
    return {hashlib.sha256(data).hexdigest(): data for data in parts}


def make_bundle(client: Client, job: Id, path: Path) -> Path:
    """Write the bundle of a job."""
    envelope = client.receipt(job)
    subject, result = (part := read_receipt(envelope).claim).subject, part.result
    named = {str(getattr(each, name)) for each in (subject, result) for name in each.__struct_fields__}
    every = gather_parts(client, job)
    files = {digest for digest in every if any(digest.encode() in data for data in every.values() if data != b"")}
    keys = [key for key in client.signing_keys() if key.keyid in {each.keyid for each in envelope.signatures}]
    write_bundle(path, envelope, keys, {digest: every[digest] for digest in every if digest in named | files})
    return path


def check(client: Client, job: Id, tmp_path: Path) -> None:
    """Replay a job's run under each engine: it must be identical."""
    with Bundle(make_bundle(client, job, tmp_path / "bundle")) as bundle:
        bundle.check_parts()
        verify_receipt(bundle.envelope, bundle.keys)
        node = ReplayNode(BUILD / "compiled", BUILD / "interpreters")
        for engine in ENGINES:
            found = replay(bundle, node, engine=engine, timeout_s=300.0)
            assert found.verdict == "identical", found.difference


def run(client: Client, lambda_id: Id, content: bytes = b"", **options: Any) -> Id:
    job = client.submit(lambda_id, content, tags=["+replayed"], max_attempts=1, **options)
    client.wait([job], PATIENCE_S)
    return job


def test_a_recorded_job_with_files_is_replayed(client: Client, folder: Path, tmp_path: Path):
    grants = Grants(dirs=["/data"], env=["PLACE"])
    lambda_id = client.create_lambda(SCRIPT.encode(), "python3.12", record=True, grants=grants)
    files = {"given.txt": b"given"}
    job = run(client, lambda_id, b"the input", args=["a", "ö"], files=files, outputs=["*.txt"])
    assert client.job(job).state == "Finished"
    check(client, job, tmp_path)


@pytest.mark.parametrize("name", ["burn_cpu", "crash", "exit_with_code", "count_bytes"])
@pytest.mark.parametrize("profile", ["deterministic", "record"])
def test_jobs_of_both_profiles_are_replayed(client: Client, folder: Path, tmp_path: Path, name: str, profile: str):
    fields: Any = {profile: True}
    lambda_id = client.create_lambda(guest(name), "default", args=["3"], **fields)
    check(client, run(client, lambda_id, b"some words\n"), tmp_path)


def test_a_function_is_replayed(client: Client, folder: Path, tmp_path: Path):
    lambda_id = client.create_lambda(guest("capsule_g4"), "capsule", record=True)
    check(client, run(client, lambda_id, b"cache-set a b"), tmp_path)
    check(client, run(client, lambda_id, b"no such thing"), tmp_path)
