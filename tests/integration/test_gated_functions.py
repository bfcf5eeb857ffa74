"""Calls of a function that are recorded by its replicas, and replayed before its next revision is made."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from guests import guest
from patience import until

from piecework import Client
from piecework.client.functions.functions import find_revision
from piecework.http.exchange import Request
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.messages import FunctionInfo, RevisionInfo

pytestmark = pytest.mark.integration

START_S = 60.0
SAID, OTHER = b"hey people", b"hoy people"
ENV = ("--env", "MESSAGE=hola", "--env", "API_KEY=secret")


@pytest.fixture(scope="module")
def agent(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAgent]:
    options = ("--slots", "1", "--functions", "8", "--tag", "gated-functions")
    made = LocalAgent(server.url, tmp_path_factory.mktemp("node"), "functions", *options)
    yield made
    stop_together([made])


def command(server: LocalServer, *words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "piecework", *map(str, words), "--url", server.url]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def code(tmp_path: Path) -> dict[str, Path]:
    old = guest("capsule_hello")
    assert SAID in old
    files = {name: tmp_path / f"{name}.wasm" for name in ("old", "same", "other", "status")}
    files["old"].write_bytes(old)
    files["same"].write_bytes(old + b"\0\x08\x04noteabc")
    files["other"].write_bytes(old.replace(SAID, OTHER))
    files["status"].write_bytes(guest("capsule_g4"))
    return files


def deploy(server: LocalServer, name: str, file: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return command(server, "function", "deploy", name, "--file", file, "--tag", "+gated-functions", *words)


def show(client: Client, name: str, revision: str) -> RevisionInfo:
    info: FunctionInfo = client.function(name)
    return find_revision(info, revision)


def record(client: Client, server: LocalServer, name: str, file: Path, calls: int) -> list[str]:
    """Deploy a revision ``blue`` whose calls are recorded, and call it. Returns the ids, the newest first."""
    done = deploy(server, name, file, "--revision", "blue", "--record", "100%", "--wait", *ENV)
    assert done.returncode == 0, done.stderr
    for n in range(calls):
        assert client.invoke(name, Request("POST", f"/a?n={n}", (), b"Jane")).status == 200
    assert client.invoke(name, Request("GET", "/", (("Cookie", "a=b"),))).status == 200
    until(lambda: show(client, name, "blue").recorded == calls, START_S)
    return [str(each.id) for each in client.recorded_calls(name, "blue")]


def test_a_revision_is_made_only_when_it_passes(
    client: Client, server: LocalServer, agent: LocalAgent, code: dict[str, Path], tmp_path: Path
) -> None:
    calls = record(client, server, "hola", code["old"], 5)
    found = tmp_path / "found.json"
    gate = ("--revision", "green", "--gate", "last=200", "--evidence", found)
    done = deploy(server, "hola", code["other"], *gate, *ENV)
    assert done.returncode == 1
    assert "nothing was deployed: the gate was not passed (5 of 5 calls " in done.stderr
    assert f"call {calls[0]}, output: the body of the answer differs from byte " in done.stderr
    assert "'piecework function calls hola/blue CALL' shows a call" in done.stderr
    evidence = json.loads(found.read_bytes())
    assert (evidence["function"], evidence["passed"], evidence["outputs"]) == ("hola/blue", False, 5)
    assert [each.name for each in client.function("hola").revisions] == ["blue"]
    done = deploy(
        server, "hola", code["same"], "--revision", "green", "--gate", "last=3,fuel=0,memory=0,processes=2", *ENV
    )
    assert done.returncode == 0, done.stderr
    green = show(client, "hola", "green")
    assert (green.gate.passed, green.gate.compared, green.gate.identical) == (True, 3, 3)
    assert green.gate.fuel_then == green.gate.fuel_now > 0
    shown = command(server, "function", "show", "hola").stdout
    assert "passed: 3 of 3 calls of hola/blue came to the same" in shown
    assert "100 % of the calls, 5 are kept" in shown
    assert command(server, "gate", "hola/blue", code["same"]).returncode == 3, "a secret variable is hidden"
    assert command(server, "gate", "hola/blue", code["same"], "--env", "API_KEY=secret").returncode == 0


def test_what_a_gate_lets_pass_is_told(
    client: Client, server: LocalServer, agent: LocalAgent, code: dict[str, Path]
) -> None:
    [newest, *_] = record(client, server, "loose", code["old"], 2)
    done = deploy(server, "loose", code["other"], "--revision", "green", "--gate", "last=1,same-status", *ENV)
    assert done.returncode == 0, done.stderr
    gate = show(client, "loose", "green").gate
    assert [(str(each.job), each.kind) for each in gate.findings] == [(newest, "output")]
    shown = command(server, "function", "calls", "loose/blue", newest).stdout
    for text in ("POST /a?n=1", "Jane", "200", "hey people", "hola", "host call 1  "):
        assert text in shown, text
    listed = json.loads(command(server, "function", "calls", "loose/blue", "--json").stdout)
    assert next(each["id"] for each in listed) == newest
    assert command(server, "function", "calls", "loose/blue", "--delete").returncode == 0
    assert list(client.recorded_calls("loose", "blue")) == []


def test_without_recorded_calls_there_is_nothing_to_go_by(
    client: Client, server: LocalServer, agent: LocalAgent, code: dict[str, Path]
) -> None:
    done = deploy(server, "none", code["old"], "--gate", "last=5")
    assert (done.returncode, done.stdout) == (3, "")
    assert "there is no function 'none' yet: deploy its first revision without --gate" in done.stderr
    assert deploy(server, "none", code["old"], "--revision", "plain").returncode == 0
    done = deploy(server, "none", code["same"], "--gate", "last=5")
    assert done.returncode == 3
    assert "none/plain keeps no records to go by. Deploy its code as another revision with --record" in done.stderr
    record(client, server, "none2", code["old"], 0)
    until(lambda: bool(show(client, "none2", "blue").replicas[0].unrecorded), START_S)
    done = deploy(server, "none2", code["same"], "--revision", "green", "--gate", "last=5")
    assert done.returncode == 3
    assert "none2/blue has no recorded call yet. Not recorded were calls: 1 that carry what looks" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gate", "last=0"], "last is '0', and must be a whole number from 1 to 10000"),
        (["--gate", "soon"], "'soon' is none of last=N, identical, same-status, report, "),
        (["--gate", "fuel=-1"], "fuel is '-1', and must be a number, 0 or more"),
        (["--record", "5"], "'5' is no share: write it as 5% or 100%"),
        (["--record-with", "x-api-key"], "--record-with goes with --record"),
        (["--evidence", "x"], "--evidence goes with --gate"),
    ],
)
def test_what_cannot_be_meant_is_told(
    server: LocalServer, code: dict[str, Path], words: list[str], said: str
) -> None:
    done = deploy(server, "never", code["old"], *words)
    assert done.returncode == 2
    assert said in done.stderr
