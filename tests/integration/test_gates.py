"""Gated releases: an old lambda's real jobs, replayed against new code before that becomes a lambda."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guests import guest

from piecework import Client
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.ids import Id

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def agent(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAgent]:
    made = LocalAgent(server.url, tmp_path_factory.mktemp("node"), "node", "--slots", "1", "--tag", "gated")
    yield made
    stop_together([made])


def command(server: LocalServer, *words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "piecework", *map(str, words), "--url", server.url]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)


def rebuild(code: bytes) -> bytes:
    """Return the same module with another digest."""
    return code + b"\0\x08\x04noteabc"


def run_jobs(client: Client, lambda_id: Id) -> list[Id]:
    inputs = (b"", b"three small words\n", b"UPPER", b"a\nb\n")
    jobs = [client.submit(lambda_id, each, tags=["+gated"], max_attempts=1) for each in inputs]
    client.wait(jobs, PATIENCE_S)
    return jobs


@pytest.fixture
def code(tmp_path: Path) -> dict[str, Path]:
    files = {name: tmp_path / f"{name}.wasm" for name in ("same", "other", "trap", "bad")}
    files["same"].write_bytes(rebuild(guest("count_bytes")))
    files["other"].write_bytes(guest("uppercase"))
    files["trap"].write_bytes(guest("crash"))
    files["bad"].write_bytes(b"\0asm\x01\0\0\0\xff")
    return files


@pytest.mark.parametrize("profile", ["deterministic", "record"])
def test_new_code_passes_or_not(
    client: Client, server: LocalServer, agent: LocalAgent, code: dict[str, Path], tmp_path: Path, profile: str
) -> None:
    fields: Any = {profile: True}
    old = client.create_lambda(guest("count_bytes"), "wasi", name=f"count-{profile}", **fields)
    jobs = run_jobs(client, old)
    done = command(server, "gate", old, code["same"], "--fuel", 0, "--memory", 0, "-o", tmp_path / "evidence")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "evidence").read_bytes())
    assert (found["passed"], found["compared"], found["identical"]) == (True, 4, 4)
    assert found["memory_then"] == found["memory_now"] > 0
    done = command(server, "gate", f"count-{profile}", code["other"], "--last", 2, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["passed"], found["compared"]) == (False, 2)
    assert {each["job"] for each in found["findings"]} <= {str(job) for job in jobs[2:]}
    assert command(server, "gate", old, code["trap"], "--policy", "report").returncode == 0
    done = command(server, "gate", old, code["bad"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("piecework: the new code cannot be run: ")


def test_a_lambda_is_created_only_when_it_passes(
    client: Client, server: LocalServer, agent: LocalAgent, code: dict[str, Path]
) -> None:
    old = client.create_lambda(guest("count_bytes"), "wasi", name="gated", deterministic=True)
    create = ("lambda", "create", "--name", "gated", "--deterministic", "--gate")
    done = command(server, *create, code["same"])
    assert done.returncode == 3
    assert "has no ended job with a receipt yet. Let it do some jobs first" in done.stderr
    run_jobs(client, old)
    done = command(server, *create, code["other"])
    assert done.returncode == 1
    assert "no lambda was created: the gate was not passed" in done.stderr
    assert ", output: the output differs from byte 0 on: then " in done.stderr
    assert client.lambda_("gated").id == old
    done = command(server, *create, code["same"])
    assert done.returncode == 0, done.stderr
    new = client.lambda_("gated")
    assert str(new.id) == done.stdout.strip() != str(old)
    assert (new.gate.passed, new.gate.old, new.gate.identical) == (True, old, 4)
    shown = command(server, "lambda", "show", "gated").stdout
    assert f"passed: 4 of 4 calls of lambda {old} came to the same" in shown


def test_without_records_there_is_nothing_to_go_by(
    client: Client, server: LocalServer, agent: LocalAgent, code: dict[str, Path]
) -> None:
    plain = client.create_lambda(guest("count_bytes"), "wasi")
    done = command(server, "gate", plain, code["same"])
    assert done.returncode == 3
    assert "keeps no records to go by. Create it anew with --record, or with --deterministic" in done.stderr
    done = command(server, "lambda", "create", code["same"], "--name", "never-there", "--gate")
    assert done.returncode == 3
    assert "there is no lambda 'never-there' yet: create the first without --gate" in done.stderr


def test_what_does_not_go_together_is_told(server: LocalServer, code: dict[str, Path]) -> None:
    for words, said in (
        (["--gate"], "--gate needs --name"),
        (["--name", "x", "--gate", "--reuse"], "give one of --gate and --reuse"),
        (["--gate-last", "3"], "--gate-last and --gate-policy go with --gate"),
    ):
        done = command(server, "lambda", "create", code["same"], *words)
        assert done.returncode == 2
        assert said in done.stderr


def test_calls_with_secret_variables_are_replayed_when_these_are_given(
    client: Client, server: LocalServer, agent: LocalAgent, code: dict[str, Path]
) -> None:
    old = client.create_lambda(guest("count_bytes"), "wasi", name="secret", deterministic=True)
    job = client.submit(old, b"x", tags=["+gated"], env={"API_KEY": "hush", "LANG": "C"})
    client.wait([job], PATIENCE_S)
    done = command(server, "gate", old, code["same"])
    assert done.returncode == 3
    assert done.stderr.endswith("give them with --env API_KEY=VALUE\n")
    given = ("--env", "API_KEY=hush")
    assert command(server, "gate", old, code["same"], *given).returncode == 0
    line = ("lambda", "create", code["same"], "--name", "secret", "--gate", "--deterministic", *given)
    assert command(server, *line, "--env", "LANG=de").returncode == 0
