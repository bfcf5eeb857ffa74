"""Receipts of real jobs, replayed from bundles on this machine under each engine: they come to the same."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guests import guest
from machine_code import COMPILED, INTERPRETERS, share_compiled

from piecework import Client
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.ids import Id
from piecework.protocol.messages import Grants
from piecework.receipts import Bundle, read_receipt, verify_receipt
from piecework.worker_agent.replaying.replay import ReplayNode, replay
from piecework.worker_agent.runtimes import ENGINES
from piecework.worker_agent.runtimes.scripting.interpreters import KNOWN

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0
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
    share_compiled(made / "node")
    agent = LocalAgent(server.url, made, "node", *options, environ=os.environ | {"PLACE": "here"})
    yield made
    stop_together([agent])


def check(client: Client, job: Id, tmp_path: Path) -> None:
    """Replay a job's run under each engine: it must be identical."""
    path = tmp_path / f"{job}.bundle"
    client.bundle(job, path)
    with Bundle(path) as bundle:
        bundle.check_parts()
        verify_receipt(bundle.envelope, bundle.keys)
        node = ReplayNode(COMPILED, INTERPRETERS)
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
    [python] = [each for each in KNOWN if each.name == "python3.12"]
    assert read_receipt(client.receipt(job)).engine.interpreter == python.checksum


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


def replay_by_command(server: LocalServer, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "piecework", "replay", *words, "--url", server.url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_the_command_replays_a_job(client: Client, server: LocalServer, folder: Path):
    job = run(client, client.create_lambda(guest("count_bytes"), record=True), b"some words\n")
    done = replay_by_command(server, str(job), "--engine", "pulley")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("identical (under pulley of wasmtime ")
    plain = run(client, client.create_lambda(guest("count_bytes")), b"some words\n")
    done = replay_by_command(server, str(plain))
    assert done.returncode == 1
    assert "deterministic" in done.stderr


def test_secret_variables_are_asked_for_and_given(client: Client, server: LocalServer, folder: Path):
    job = run(client, client.create_lambda(guest("count_bytes"), record=True), b"x", env={"API_KEY": "hush"})
    done = replay_by_command(server, str(job))
    assert done.returncode == 1
    assert "has variables whose names look secret" in done.stderr
    assert done.stderr.endswith("give them with --env API_KEY=VALUE\n")
    wrong = replay_by_command(server, str(job), "--env", "API_KEY=loud")
    assert (wrong.returncode, "another than that of the receipt" in wrong.stderr) == (1, True)
    done = replay_by_command(server, str(job), "--env", "API_KEY=hush", "--env", "OTHER=x")
    assert (done.returncode, done.stdout.startswith("identical")) == (0, True)
    client.bundle(job, folder / "b", env={"API_KEY": "hush"})
    misused = replay_by_command(server, str(folder / "b"), "--env", "API_KEY=hush")
    assert (misused.returncode, "a bundle has all its variables" in misused.stderr) == (2, True)


def test_an_input_and_files_of_other_jobs_are_in_the_bundle(client: Client, folder: Path, tmp_path: Path):
    code = b"import sys; print(open('/inputs/first').read(), sys.stdin.read())"
    first = run(client, client.create_lambda(guest("count_bytes")), b"12345")
    lambda_id = client.create_lambda(code, "python3.12", record=True)
    job = run(client, lambda_id, b"own input", inputs={"first": first})
    assert client.job(job).state == "Finished"
    check(client, job, tmp_path)
