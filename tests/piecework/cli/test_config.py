"""`piecework config`, and what commands say of files."""

import json
import os
import re
import stat
from importlib.resources import files
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from piecework import Client
from piecework.cli.main import main
from piecework.configuration import places

TEXT = """
[client]
profile = "lab"
[profiles.lab]
url = "http://lab.test"
token = "hush-lab"
[agent]
token_file = "agent-token"
slots = 3
allow_dir = ["/srv=/srv"]
cache_mb = 7
[server]
port = 8123
database_url = "postgresql://me:hush-db@db/x"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only configuration file that there is, with secrets in it."""
    path = tmp_path / "piecework.toml"
    path.write_text(TEXT)
    (tmp_path / "agent-token").write_text("hush-agent")
    for each in (path, tmp_path / "agent-token"):
        each.chmod(0o600)
    monkeypatch.setenv("PIECEWORK_CONFIG", str(path))
    for name in ("URL", "TOKEN", "CA", "PROFILE", "PORT"):
        monkeypatch.delenv(f"PIECEWORK_{name}", raising=False)
    return path


def run(*words: object, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(map(str, words)), prog_name="piecework")
    assert result.exit_code == exit_code, result.output
    return result


def show(*words: str) -> dict:
    return json.loads(run(*words, "--json").stdout)


def test_each_value_is_told_with_where_it_comes_from(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIECEWORK_WORKER_TAGS", "gpu,big")
    found = show("config", "show")
    assert found.keys() == {"server", "agent", "client", "profiles"}
    by_file = f"file {file}"
    assert found["server"]["port"] == {"value": 8123, "from": by_file}
    assert found["server"]["lease_s"] == {"value": 15.0, "from": "default"}
    assert found["agent"]["slots"] == {"value": 3, "from": by_file}
    assert found["agent"]["cache_mb"] == {"value": 7, "from": by_file}
    assert found["agent"]["tags"] == {"value": ["gpu", "big"], "from": "environment PIECEWORK_WORKER_TAGS"}
    assert found["client"]["url"] == {"value": "http://lab.test", "from": f"profile lab ({by_file})"}
    assert found["profiles"]["lab"]["url"]["value"] == "http://lab.test"


def test_options_before_the_command_count(file: Path):
    found = show("--url", "http://a.test", "--token", "hush", "config", "show", "--client")
    assert found["client"]["url"] == {"value": "http://a.test", "from": "option --url"}
    assert found["client"]["token"] == {"value": "***", "from": "option --token"}


def test_no_secret_is_shown(file: Path):
    for text in (
        run("config", "show").output,
        run("config", "show", "--json").output,
        run("config", "check").output,
    ):
        assert "hush" not in text
    found = show("config", "show")
    for section, key in (("server", "database_url"), ("agent", "token"), ("client", "token")):
        assert found[section][key]["value"] == "***"
    assert found["server"]["otel_endpoint"] == {"value": "", "from": "default"}


def test_people_get_tables(file: Path):
    out = run("config", "show", "--server").stdout
    assert "[server]" in out
    assert re.search(rf"port +8123 +file {file}\n", out)
    assert "[client]" not in out


def test_places_are_listed(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert json.loads(run("config", "path", "--json").stdout) == [{"path": str(file), "state": "there"}]
    monkeypatch.delenv("PIECEWORK_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    out = run("config", "path").stdout
    assert re.search(r"/etc/piecework/piecework.toml +(not )?there", out)
    assert re.search(rf"{tmp_path}/piecework/piecework.toml +not there", out)


def test_an_example_is_written_once(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = tmp_path / "new" / "piecework.toml"
    assert run("config", "init", place).stdout == f"{place}\n"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    place.write_text("mine")
    assert "is there already, and is not replaced" in run("config", "init", place, exit_code=1).stderr
    assert place.read_text() == "mine"
    monkeypatch.delenv("PIECEWORK_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    assert run("config", "init").stdout == f"{tmp_path}/home/piecework/piecework.toml\n"


def test_no_half_of_an_example_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(number: int, *_: object) -> None:
        os.close(number)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", fail)
    assert "No space left" in run("config", "init", tmp_path / "a.toml", exit_code=1).stderr
    assert not (tmp_path / "a.toml").exists()


def test_the_example_is_well_with_and_without_its_comments(file: Path):
    text = files("piecework").joinpath("templates", "piecework.toml").read_text()
    file.write_text(text)
    assert run("config", "check").stdout == f"{file} is well\n"
    filled = re.sub(r"^#(?=[a-z\[])", "", text, flags=re.MULTILINE).replace("/etc/ssl/lab.pem", str(file))
    filled = filled.replace("pw_…", "pw_x").replace('"lab.pem"', f'"{file}"').replace('"token"', '"agent-token"')
    file.write_text(filled)
    assert filled.count("\n[") == 4
    assert run("config", "check").stdout == f"{file} is well\n"


def test_a_file_is_checked_for_all_programs(file: Path):
    file.write_text(
        "[server]\nport = 70000\n[agent]\nslots = 0\n[client]\nslots = 1\n[profiles.a]\ntokn = 'hush'\n"
    )
    ran = run("config", "check", file, exit_code=2)
    assert ran.stdout == ""
    lines = ran.stderr.splitlines()
    assert [line.partition("piecework.toml: ")[2][:16] for line in sorted(lines)] == [
        "[agent] slots: s", "[client] slots i", "[profiles.a] tok", "[server] port: p"
    ]  # fmt: skip
    assert all(line.startswith(f"piecework: {file}: ") for line in lines)
    assert "hush" not in ran.stderr
    file.unlink()
    assert "No such file" in run("config", "check", file, exit_code=2).stderr


def test_secrets_of_all_profiles_are_tried(file: Path):
    file.write_text("[profiles.lab]\nurl = 'http://a'\ntoken_file = 'nowhere'\n")
    assert "[profiles.lab] token_file: " in run("config", "check", exit_code=2).stderr


def test_without_files_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("PIECEWORK_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(places, "SYSTEM", tmp_path / "none")
    assert run("config", "check").stdout.startswith("there is no configuration file")


@pytest.mark.parametrize("words", [("ping",), ("server", "token", "list"), ("config", "show")])
def test_a_file_that_cannot_be_used_ends_in_one_line(file: Path, words: tuple[str, ...]):
    file.write_text("[server]\nprot = 1\n[client]\nurl = 5\n")
    ran = run(*words, exit_code=1 if words[0] == "server" else 2)
    [line] = ran.stderr.splitlines()
    assert line.startswith(f"piecework: {file}: [{'client' if words == ('ping',) else 'server'}] ")


def test_a_setting_that_cannot_be_used_is_told_with_its_file(file: Path):
    file.write_text("[server]\nlease_s = 0\n")
    assert run("server", "token", "list", exit_code=1).stderr == (
        f"piecework: {file}: [server] lease_s: lease_s is 0.0, but must be above 0\n"
    )


def test_commands_go_where_the_profile_says(file: Path, server_url: str):
    file.write_text(f"[client]\nurl = 'http://127.0.0.1:9'\n[profiles.lab]\nurl = '{server_url}'\n")
    assert server_url in run("--profile", "lab", "ping").stdout
    assert server_url in run("ping", "--profile", "lab").stdout
    assert "there is no profile 'lap': there are lab" in run("ping", "--profile", "lap", exit_code=2).stderr


def test_profiles_are_completed(file: Path):
    def complete(word: str) -> list[str]:
        found = ShellComplete(main, {}, "piecework", "_X").get_completions(["--profile"], word)
        return [each.value for each in found]

    assert complete("l") == ["lab"]
    assert complete("x") == []
    file.write_text("nonsense")
    assert complete("l") == []


def test_others_who_may_read_secrets_are_told_of(file: Path, server_url: str):
    file.write_text(f"[client]\nurl = '{server_url}'\ntoken = 'hush'\n")
    file.chmod(0o644)
    warning = f"others may read {file}, which has secrets: chmod 600 {file}"
    assert run("ping").stderr == f"piecework: {warning}\n"
    with pytest.warns(UserWarning, match=re.escape(warning)):
        Client().close()


def test_a_client_of_python_takes_a_profile(file: Path):
    assert repr(Client()) == "Client('http://lab.test', token='***')"
    assert repr(Client(profile="lab")) == "Client('http://lab.test', token='***')"
    with pytest.raises(ValueError, match="no profile 'x'"):
        Client(profile="x")
    file.write_text("nonsense")
    assert repr(Client("http://a", "")) == "Client('http://a')"
