"""A real OCI registry, with passwords and with tokens: what is pushed comes back, and nobody else pushes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from oci_registry import PASSWORD, OciRegistry, TokenServer, run_registry, write_passwords

from piecework.cli.main import main
from piecework.local import LocalServer

pytestmark = pytest.mark.integration

SAMPLES = Path(__file__).parents[2] / "samples"
ECHO = SAMPLES / "echo.wasm"
KINDS = ["open", "passwords", "tokens"]


class Place(NamedTuple):
    registry: OciRegistry
    kind: str
    folder: Path

    def run(self, *words: object, knows_password: bool = True) -> Any:
        """Run a command to its end."""
        auth = str(self.registry.auth_file) if knows_password else None
        environ = {"HOME": str(self.folder), "REGISTRY_AUTH_FILE": auth}
        return CliRunner(env=environ).invoke(main, [str(word) for word in words], prog_name="piecework")

    def get(self, *words: object) -> str:
        """Run a command that ends well; return what it prints."""
        ran = self.run(*words)
        assert ran.exit_code == 0, ran.output
        return ran.stdout


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    tokens = TokenServer(tmp_path / "tokens") if request.param == "tokens" else None
    auth = {"open": None, "passwords": write_passwords(tmp_path), "tokens": tokens.auth if tokens else None}
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    try:
        with run_registry(tmp_path / "registry", auth[request.param]) as registry:
            yield Place(registry, request.param, tmp_path / "work")
            assert PASSWORD not in registry.log.read_text()
    except LookupError as error:
        pytest.skip(str(error))
    finally:
        if tokens is not None:
            tokens.close()


def test_module_goes_there_and_comes_back(place: Place):
    name = f"oci://{place.registry.host}/team/echo:1.0"
    pinned = place.get("module", "push", ECHO, name).strip()
    assert pinned.startswith(f"{name}@sha256:")
    assert place.get("module", "push", ECHO, name).strip() == pinned, "pushed again it is the same"
    assert place.get("module", "pull", pinned, "-o", "got.wasm") == f"got.wasm: {pinned}\n"
    assert (place.folder / "got.wasm").read_bytes() == ECHO.read_bytes()
    environ = os.environ | {"REGISTRY_AUTH_FILE": str(place.registry.auth_file), "HOME": str(place.folder)}
    command = [sys.executable, "-m", "piecework.worker_agent", "exec", name]
    ran = subprocess.run(command, input=b"to and fro", env=environ, capture_output=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, b"to and fro"), ran.stderr
    assert pinned in ran.stderr.decode()


def test_only_who_may_pushes(place: Place):
    name = f"oci://{place.registry.host}/team/echo:1.0"
    place.get("module", "push", ECHO, name)
    pull = place.run("module", "pull", name, "-o", "got.wasm", knows_password=False)
    push = place.run("module", "push", SAMPLES / "sum.wasm", name, knows_password=False)
    expected = {"open": (0, 0), "passwords": (1, 1), "tokens": (0, 1)}[place.kind]
    assert (pull.exit_code, push.exit_code) == expected, (pull.output, push.output)
    if place.kind == "passwords":
        assert "wants a login: log in with 'docker login" in push.stderr
    if place.kind == "tokens":
        assert "it is not allowed: asked for" in push.stderr
    wrong = {"auths": {place.registry.host: {"auth": "c29tZWJvZHk6d3Jvbmc="}}}
    place.registry.auth_file.write_text(json.dumps(wrong))
    refused = place.run("module", "push", SAMPLES / "sum.wasm", name)
    assert refused.exit_code == expected[1]
    assert "c29tZWJvZHk6d3Jvbmc" not in refused.stderr


@pytest.mark.parametrize("place", ["tokens"], indirect=True)
def test_large_module_goes_there_and_comes_back(place: Place):
    size = 32 << 20
    number = bytes([size >> shift & 127 | (128 if shift < 28 else 0) for shift in range(0, 35, 7)])
    large = place.folder / "large.wasm"
    large.write_bytes(b"\0asm\x01\0\0\0\0" + number + b"\x01" + bytes(size - 1))
    pinned = place.get("module", "push", large, f"oci://{place.registry.host}/large:1").strip()
    place.get("module", "pull", pinned, "-o", "got.wasm")
    assert (place.folder / "got.wasm").read_bytes() == large.read_bytes()


@pytest.mark.parametrize("place", ["tokens"], indirect=True)
def test_server_gets_the_bytes_and_asks_nobody(place: Place, tmp_path: Path):
    name = f"oci://{place.registry.host}/team/echo:1.0"
    pinned = place.get("module", "push", ECHO, name).strip()
    with LocalServer(tmp_path / "server") as server:
        words = ("--url", server.url)
        assert json.loads(place.get(*words, "lambda", "create", name, "--json"))["pulled"] == pinned
        place.get(*words, "module", "push", name, "team/echo/1.0")
        assert json.loads(place.get(*words, "module", "show", "team/echo/1.0", "--json"))["info"] == pinned
        assert place.registry.host not in (tmp_path / "server" / "server.log").read_text()
