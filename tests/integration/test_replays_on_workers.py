"""Runs of real jobs, done again on another worker: the same comes out there, or it is said where not."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from guests import guest
from live_door import LiveDoor
from machine_code import share_compiled
from signing_worker import SigningWorker

from piecework import Client
from piecework.client import JobCancelled
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, Digests, Grants, Usage
from piecework.receipts.journals import End, Head, write_frame

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0
SCRIPT = """
import os, random, sys, time
open("/out.txt", "w").write(open("/given.txt").read() + open("/data/a").read())
print(time.time_ns(), random.random(), os.environ["PLACE"], sys.argv[1:], sys.stdin.read())
print(os.environ.get("API_KEY"), open("/inputs/first").read())
"""


class World(NamedTuple):
    """Jobs that a liar ended before any agent came, and two agents: only the first has something for guests."""

    wrong_output: Id
    wrong_journal: Id
    recorded: Id
    """It has every kind of part, and had a directory and a variable of the left node."""
    left: LocalAgent
    right: LocalAgent


class Lie(NamedTuple):
    """What a liar says of a job."""

    output: bytes
    journal: bytes | None = None


def tell_a_lie(server: LocalServer, client: Client, code: bytes, runtime: str, lie: Lie) -> Id:
    """Have a worker end a job that signs, and lies."""
    worker = SigningWorker(LiveDoor(server.url), runtime=[runtime])
    profile: Any = {"deterministic" if lie.journal is None else "record": True}
    job = client.submit(client.create_lambda(code, runtime, **profile), b"some words\n")
    changes: dict[str, Any] = {}
    if lie.journal is not None:
        module, input_, output, journal = (
            hashlib.sha256(each).hexdigest() for each in (code, b"some words\n", lie.output, lie.journal)
        )
        digests = Digests(module=module, input=input_, output=output, memory="5" * 64, journal=journal)
        changes = {"usage": Usage(fuel=77, digests=digests), "journal": Content(raw=lie.journal)}
    worker.hand_in(worker.work(lie.output, **changes))
    assert client.job(job).state == "Finished"
    return job


@pytest.fixture(scope="module")
def world(server: LocalServer, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    empty = write_frame(Head()) + write_frame(End(0))
    wrong_output = tell_a_lie(server, client, guest("count_bytes"), "wasi", Lie(b"10\n"))
    wrong_journal = tell_a_lie(
        server, client, b"import time; print(time.time())", "python3.12", Lie(b"0.0", empty)
    )
    made = tmp_path_factory.mktemp("node")
    (made / "data").mkdir()
    (made / "data" / "a").write_text("; of the node")
    allows = ["--allow-dir", f"{made / 'data'}=/data", "--allow-env", "PLACE"]
    environ = os.environ | {"PLACE": "here"}
    for name in ("left", "right"):
        share_compiled(made / name)
    left = LocalAgent(server.url, made, "left", "--slots", "1", *allows, environ=environ)
    first = run(client, client.create_lambda(guest("count_bytes")), b"12345")
    grants = Grants(dirs=["/data"], env=["PLACE"])
    lambda_id = client.create_lambda(SCRIPT.encode(), "python3.12", record=True, grants=grants)
    more: Any = {"files": {"given.txt": b"given"}, "outputs": ["*.txt"], "files_of": {"first": first}}
    recorded = run(client, lambda_id, b"the input", args=["a", "ö"], env={"API_KEY": "hush"}, **more)
    assert client.job(recorded).state == "Finished"
    right = LocalAgent(server.url, made, "right", "--slots", "1", "--tag", "right")
    run(client, client.create_lambda(guest("count_bytes")), tags=["+right"])  # then it is known
    yield World(wrong_output, wrong_journal, recorded, left, right)
    stop_together([left, right])


def wait_for(reached: Callable[[], bool]) -> None:
    until, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not reached():
        assert time.monotonic() < until
        pause.wait(0.05)


def run(client: Client, lambda_id: Id, content: bytes = b"", **options: Any) -> Id:
    job = client.submit(lambda_id, content, max_attempts=1, **options)
    client.wait([job], PATIENCE_S)
    return job


def command(server: LocalServer, *words: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "piecework", *map(str, words), "--url", server.url]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=timeout)


@pytest.mark.parametrize("engine", [None, "pulley"])
def test_a_recorded_job_is_identical_on_a_node_that_has_nothing(client: Client, world: World, engine: Any):
    found = client.replay(world.recorded, "right", engine=engine, timeout_s=300)
    assert found.verdict == "identical", found.difference
    assert found.engine == engine or engine is None
    assert found.files is not None
    assert set(found.files) == {"given.txt", "out.txt"}


def test_the_command_says_it_in_the_words_of_the_local_one(server: LocalServer, client: Client, world: World):
    before = client.job(world.recorded)
    done = command(server, "replay", world.recorded, "--on", "right")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("identical (under cranelift of wasmtime ")
    assert " on worker " in done.stdout
    document = json.loads(command(server, "replay", world.recorded, "--on", "right", "--json").stdout)
    assert document["verdict"] == "identical"
    replay = client.job(document["replay"])
    assert (replay.replays, replay.state, str(replay.worker)) == (world.recorded, "Finished", document["worker"])
    assert "API_KEY" not in (replay.env or {})
    assert client.job(world.recorded) == before


@pytest.mark.parametrize("name", ["burn_cpu", "crash", "exit_with_code", "count_bytes"])
def test_jobs_that_fail_are_replayed_too(client: Client, world: World, name: str):
    lambda_id = client.create_lambda(guest(name), "default", args=["3"], deterministic=True)
    found = client.replay(run(client, lambda_id, b"some words\n"), "right", engine="cranelift-none")
    assert found.verdict == "identical", found.difference


def test_replays_are_counted_for_no_lambda_but_their_own(client: Client, world: World):
    lambda_id = client.create_lambda(guest("count_bytes"), deterministic=True, memo=True)
    job = run(client, lambda_id, b"once")
    figures = next(each for each in client.stats().lambdas if each.lambda_ == lambda_id)
    memos = client.memos(lambda_id)
    assert client.replay(job, "right").verdict == "identical"
    assert next(each for each in client.stats().lambdas if each.lambda_ == lambda_id) == figures
    assert client.memos(lambda_id) == memos
    assert [each.id for each in client.jobs(lambda_=lambda_id)] == [job]
    assert "(replays)" in [each.lambda_name for each in client.stats().lambdas]
    assert "(replays)" not in [each.name for each in client.lambdas()]


def test_the_first_byte_and_the_first_host_call_are_named(server: LocalServer, world: World):
    done = command(server, "replay", world.wrong_output, "--on", "right")
    assert done.returncode == 1
    assert done.stdout.startswith("different (under ")
    assert done.stdout.endswith(": the output differs from byte 1 on: then 3 bytes, now 14\n")
    done = command(server, "replay", world.wrong_journal, "--on", "right")
    assert done.returncode == 1
    assert ": host call 1: the guest asks for " in done.stdout
    assert done.stdout.endswith(", the record has no more\n")


def test_what_cannot_be_replayed_there_is_refused_with_the_reason(
    server: LocalServer, client: Client, world: World, tmp_path: Path
):
    plain = run(client, client.create_lambda(guest("count_bytes")), b"x")
    tagged = run(client, client.create_lambda(guest("count_bytes"), deterministic=True, tags=["-right"]), b"x")
    (tmp_path / "bundle").write_bytes(b"PK")
    for code, words, reason in (
        (1, (world.recorded, "--on", "nobody"), "there is no worker named 'nobody'"),
        (1, (world.recorded, "--on", "5" * 17), f"there is no worker {'5' * 17}"),
        (1, (plain, "--on", "right"), f"job {int(plain)} has no receipt: its lambda is neither deterministic"),
        (1, (tagged, "--on", "right"), f"may not run job {int(tagged)}, which has the tags -right"),
        (2, (tmp_path / "bundle", "--on", "right"), "a bundle is replayed here"),
        (
            2,
            (world.recorded, "--on", "right", "--env", "API_KEY=x"),
            "a worker gets the variables from the server",
        ),
    ):
        done = command(server, "replay", *words)
        assert (done.returncode, done.stdout) == (code, ""), done
        assert reason in done.stderr


def occupy(client: Client) -> Id:
    """Have the right worker's only slot taken."""
    job = client.submit(client.create_lambda(guest("burn_cpu"), args=["600000"]), tags=["+right"], timeout_s=300)
    wait_for(lambda: client.job(job).state == "Running")
    return job


def test_a_replay_waits_for_a_busy_worker_and_goes_first(client: Client, world: World):
    busy = occupy(client)
    behind = client.submit(client.create_lambda(guest("count_bytes")), b"x", tags=["+right"], priority=50)
    started = client.start_replay(world.recorded, "right")
    assert client.job(started.id).waits_for == "busy"
    client.cancel(busy)
    assert client.end_replay(started.id).verdict == "identical"
    client.wait([behind], PATIENCE_S)
    assert client.job(started.id).started_at <= client.job(behind).started_at


def test_the_time_is_over_and_control_c_cancels(server: LocalServer, client: Client, world: World):
    busy = occupy(client)
    done = command(server, "replay", world.recorded, "--on", "right", "--timeout", "1")
    assert done.returncode == 1
    assert "the worker that may run it is busy (1 slot)" in done.stderr
    line = [sys.executable, "-m", "piecework", "replay", str(world.recorded), "--on", "right", "--url", server.url]
    waiting = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=os.environ)
    wait_for(lambda: any(each.replays for each in client.jobs(state="Enqueued")))
    [replay] = [each for each in client.jobs(state="Enqueued") if each.replays]
    waiting.send_signal(signal.SIGINT)
    _, told = waiting.communicate(timeout=PATIENCE_S)
    assert (waiting.returncode, client.job(replay.id).state) == (130, "Cancelled")
    assert told.endswith(f"interrupted; job {replay.id} was cancelled\n")
    client.cancel(busy)


def open_third(server: LocalServer, folder: Path) -> LocalAgent:
    return LocalAgent(server.url, folder, "third", "--slots", "1", "--tag", "third")


def test_a_worker_that_dies_in_a_replay_does_it_again(
    server: LocalServer, client: Client, world: World, tmp_path: Path
):
    lambda_id = client.create_lambda(guest("burn_cpu"), deterministic=True, args=["rounds", "20000"])
    job = run(client, lambda_id)
    with open_third(server, tmp_path) as third:
        run(client, client.create_lambda(guest("count_bytes")), tags=["+third"])
        started = client.start_replay(job, "third", engine="pulley")
        wait_for(lambda: client.job(started.id).state == "Running")
        third.kill()
    with open_third(server, tmp_path):
        assert client.end_replay(started.id).verdict == "identical"
    assert [each.state for each in client.trace(started.id)].count("Running") == 2


def test_a_replay_ends_when_its_worker_leaves(server: LocalServer, client: Client, world: World, tmp_path: Path):
    burning = client.create_lambda(guest("burn_cpu"), args=["600000"])
    job = run(client, client.create_lambda(guest("count_bytes"), deterministic=True))
    with open_third(server, tmp_path) as third:
        busy = client.submit(burning, tags=["+third"], timeout_s=300)
        wait_for(lambda: client.job(busy).state == "Running")
        started = client.start_replay(job, "third")
        client.cancel(busy)
        third.kill()
    client.retire_worker(started.worker)
    with pytest.raises(JobCancelled, match="alone, which is not in service"):
        client.end_replay(started.id)
