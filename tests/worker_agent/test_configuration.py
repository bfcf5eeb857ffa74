"""What agents and functions on a node take from configuration files."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from piecework.worker_agent import cli
from piecework.worker_agent.serving.options import find_environ

TEXT = """
[agent]
url = "http://lab.test"
token = "hush"
slots = 3
interpreters = "interpreters"
allow_http = ["*"]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "a.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    monkeypatch.setenv("PIECEWORK_CONFIG", str(path))
    for name in ("URL", "TOKEN"):
        monkeypatch.delenv(f"PIECEWORK_{name}", raising=False)
    return path


def test_an_agent_takes_its_settings_from_a_file(file: Path, monkeypatch: pytest.MonkeyPatch):
    settings = cli.read_settings({})
    assert (settings.server, settings.token, settings.slots) == ("http://lab.test", "hush", 3)
    assert settings.interpreters == file.parent / "interpreters"
    assert settings.allow_http == ("*",)
    monkeypatch.setenv("PIECEWORK_WORKER_SLOTS", "4")
    assert cli.read_settings({}).slots == 4
    assert cli.read_settings({"slots": 5}).slots == 5
    assert cli.read_settings({"server": "http://other"}).token is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slot = 1", "a.toml: [agent] slot is no key: did you mean slots?"),
        ("slots = 0", "a.toml: [agent] slots: slots is 0, it must be between 1 and 1024"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_agent_with_2(file: Path, text: str, said: str):
    file.write_text(f"[agent]\n{text}\n")
    result = CliRunner().invoke(cli.worker_commands, ["run"])
    assert result.exit_code == 2
    assert said in result.output


def test_others_who_may_read_a_token_are_told_of(file: Path, capsys: pytest.CaptureFixture[str]):
    file.chmod(0o644)
    cli.read_settings({})
    assert (
        capsys.readouterr().err == f"worker-agent: others may read {file}, which has secrets: chmod 600 {file}\n"
    )


def test_functions_may_reach_nothing_by_an_agents_file(file: Path, monkeypatch: pytest.MonkeyPatch):
    found = find_environ(supervised=False)
    assert found["PIECEWORK_URL"] == "http://lab.test"
    assert found["PIECEWORK_WORKER_INTERPRETERS"] == str(file.parent / "interpreters")
    assert "PIECEWORK_WORKER_ALLOW_HTTP" not in found
    monkeypatch.setenv("PIECEWORK_WORKER_ALLOW_HTTP", "a.test")
    assert find_environ(supervised=False)["PIECEWORK_WORKER_ALLOW_HTTP"] == "a.test"


def test_a_function_that_an_agent_supervises_reads_no_file(file: Path):
    file.write_text("nonsense")
    assert "PIECEWORK_URL" not in find_environ(supervised=True)
