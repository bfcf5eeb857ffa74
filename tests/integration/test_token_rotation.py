"""A token is rotated under a real agent and a real client that read it from a file: nothing is started anew."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from piecework import Client
from piecework.local import LocalAgent, LocalServer

SAMPLES = Path(__file__).parents[2] / "samples"
pytestmark = pytest.mark.integration


def make_token(data: Path, *words: str) -> str:
    command = [sys.executable, "-m", "piecework", "server", "token", *words, "--data", str(data)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_an_agent_and_a_client_go_on_after_their_tokens_were_rotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = {name: tmp_path / name for name in ("worker", "submit")}
    for path in files.values():
        path.touch(0o600)
    with LocalServer(tmp_path) as server:
        for scope, path in files.items():
            path.write_text(make_token(server.data, "create", scope, "--scope", scope))
        monkeypatch.setenv("PIECEWORK_TOKEN_FILE", str(files["submit"]))
        environ = os.environ | {"PIECEWORK_TOKEN_FILE": str(files["worker"])}
        with LocalAgent(server.url, tmp_path, "node", environ=environ) as agent, Client(server.url) as client:
            echo = client.create_lambda(SAMPLES / "uppercase.wasm", "wasi")
            assert client.run(echo, b"before", wait_s=60) == b"BEFORE"
            for scope, path in files.items():
                path.write_text(make_token(server.data, "rotate", scope, "--overlap", "0"))
            assert client.run(echo, b"after", wait_s=60) == b"AFTER"
            assert agent.exit_code is None
            assert "server refuses our token" not in agent.read_log()
