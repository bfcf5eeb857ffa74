"""Tokens that stand in files of their own or that commands print: read anew when a server refuses them."""

import asyncio
import json
import pickle
import sys

import pytest
from click.testing import CliRunner

from piecework.cli.main import main
from piecework.client import AsyncClient, Client, Refused
from piecework.client.environment import find_server
from piecework.configuration.files import read_file
from piecework.configuration.keys import CLIENT
from piecework.configuration.layers import configure
from piecework.configuration.places import ConfigError
from piecework.configuration.tokens import (
    COMMAND_EVERY_S,
    RenewedToken,
    open_token_command,
    open_token_file,
    run_command,
)
from piecework.protocol.messages import ErrorReply, MessageReply
from piecework.worker_agent.config.configuration import SECTION as AGENT
from piecework.worker_agent.config.settings import Settings
from piecework.worker_agent.host import find_token

REFUSED = {"status": 401, "headers": {"WWW-Authenticate": 'Bearer realm="piecework"'}}
PRINTS = [sys.executable, "-c", "print('of-command')"]


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("first\n")
    path.chmod(0o600)
    return path


def shown(script):
    return [each.headers.get("Authorization") for each in script.seen]


@pytest.fixture
def rotating(script, secret, monkeypatch):
    """A server that refuses the first token, which PIECEWORK_TOKEN_FILE has, and takes the next."""
    monkeypatch.setenv("PIECEWORK_TOKEN_FILE", str(secret))
    script.answer(MessageReply(message="pong"))
    script.answer(ErrorReply(code=4, message="revoked"), **REFUSED)
    script.answer(MessageReply(message="pong"))
    return script


def test_a_client_reads_its_token_anew_when_the_server_refuses_it(rotating, secret):
    with Client(rotating.url) as client:
        assert client.ping()
        secret.write_text("second\n")
        assert client.ping()
    assert shown(rotating) == ["Bearer first", "Bearer first", "Bearer second"]


def test_so_does_one_of_an_event_loop(rotating, secret):
    async def go():
        async with AsyncClient(rotating.url) as client:
            await client.ping()
            secret.write_text("second\n")
            await client.ping()

    asyncio.run(go())
    assert shown(rotating) == ["Bearer first", "Bearer first", "Bearer second"]


@pytest.mark.parametrize("became", ["first", "", "with a space", None])
def test_a_token_that_stays_or_cannot_be_read_is_refused_as_the_server_says(script, secret, monkeypatch, became):
    monkeypatch.setenv("PIECEWORK_TOKEN_FILE", str(secret))
    script.answer(ErrorReply(code=4, message="it was revoked"), **REFUSED)
    with Client(script.url) as client:
        secret.unlink() if became is None else secret.write_text(became)
        with pytest.raises(Refused, match="it was revoked"):
            client.ping()
    assert len(script.seen) == 1


def test_a_401_that_is_not_of_a_server_of_ours_is_no_reason(script, secret, monkeypatch):
    monkeypatch.setenv("PIECEWORK_TOKEN_FILE", str(secret))
    script.answer(ErrorReply(code=4, message="no"), status=401, headers={"WWW-Authenticate": "Basic"})
    with Client(script.url) as client:
        secret.write_text("second")
        with pytest.raises(Refused):
            client.ping()
    assert shown(script) == ["Bearer first"]


def test_a_token_that_was_given_as_text_counts_before_the_file(disk, secret):
    files = {"PIECEWORK_TOKEN_FILE": str(secret)}
    assert find_server("http://x", environ=disk.environ | files).token == "first"
    assert find_server("http://x", environ=disk.environ | files | {"PIECEWORK_TOKEN": "env"}).token == "env"
    assert find_server("http://x", "given", environ=disk.environ | files).token == "given"
    disk.write(disk.user, '[client]\nurl = "http://x"\ntoken = "of-file"\n')
    assert find_server(environ=disk.environ | files).token == "first"


def test_others_who_may_read_a_token_file_are_told_of(disk, secret):
    secret.chmod(0o644)
    named = disk.environ | {"PIECEWORK_TOKEN_FILE": str(secret)}
    assert find_server("http://x", environ=named).warnings == [
        f"others may read {secret}, which has secrets: chmod 600 {secret}"
    ]
    assert configure(AGENT, named).warnings == find_server("http://x", environ=named).warnings


def test_a_token_file_that_cannot_be_used_is_refused(disk, secret):
    def read(path):
        with pytest.raises(ConfigError) as refused:
            configure(AGENT, disk.environ | {"PIECEWORK_TOKEN_FILE": str(path)})
        return str(refused.value)

    assert read(secret.with_name("missing")).endswith("missing cannot be read: No such file or directory")
    secret.write_text(" \n")
    assert read(secret) == f"PIECEWORK_TOKEN_FILE: {secret} is empty"
    secret.write_text("hunter 2")
    assert "hunter" not in read(secret)


def test_a_command_prints_the_token_of_a_file(disk):
    for written in (json.dumps(PRINTS), json.dumps(f"{sys.executable} -c \"print('of-command')\"")):
        disk.write(disk.user, f'[profiles.lab]\nurl = "http://lab"\ntoken_command = {written}\n')
        assert find_server(profile="lab", environ=disk.environ).token == "of-command"


def test_a_command_that_gives_no_token_is_told_of_without_what_it_printed(disk):
    def fail(code):
        with pytest.raises(ValueError, match=sys.executable) as error:
            run_command([sys.executable, "-c", code])
        assert "hunter" not in str(error.value)
        return str(error.value).removeprefix(f"{sys.executable} ")

    assert fail("raise SystemExit(3)") == "ended with 3"
    assert fail("") == "printed nothing"
    assert fail("import sys; sys.stdout.buffer.write(b'hunter\\xff')") == "printed what is not UTF-8"
    with pytest.raises(ValueError, match="the token has a space"):
        run_command([sys.executable, "-c", "print('hunter 2')"])
    with pytest.raises(ValueError, match="nowhere cannot be run: No such file"):
        run_command(["/nowhere"])
    disk.write(disk.user, '[client]\ntoken_command = ["/nowhere"]\n')
    with pytest.raises(ConfigError, match=r"\[client\] token_command: /nowhere cannot be run"):
        configure(CLIENT, disk.environ)


@pytest.mark.parametrize("value", ["3", "[]", '[""]', '""', '["a", 1]'])
def test_what_is_no_command_is_refused(disk, value):
    disk.write(disk.user, f"[client]\ntoken_command = {value}\n")
    with pytest.raises(ConfigError, match="must be a list of texts, a command and its arguments"):
        configure(CLIENT, disk.environ)


def test_a_command_stands_beside_no_other_token(disk):
    disk.write(disk.user, '[client]\ntoken = "t"\ntoken_command = ["true"]\n')
    with pytest.raises(ConfigError, match="token_command: cannot stand beside token"):
        configure(CLIENT, disk.environ)


def test_a_command_of_a_file_that_others_may_change_is_not_run(disk, tmp_path):
    disk.write(disk.user, f'[client]\ntoken_command = ["touch", "{tmp_path}/ran"]\n').chmod(0o620)
    assert read_file(disk.user).is_open
    with pytest.raises(ConfigError, match="others may change is not run: chmod 600"):
        configure(CLIENT, disk.environ)
    assert not (tmp_path / "ran").exists()


def test_a_command_is_not_run_again_before_some_seconds():
    now, printed = [100.0], iter(["a", "b", "c"])
    token = open_token_command(["x"], run=lambda _: next(printed), monotonic=lambda: now[0])
    assert token.renew("a") is None
    now[0] += COMMAND_EVERY_S
    assert [token.renew("a"), token.renew("a"), token.newest] == ["b", "b", "b"]
    assert token.renew("b") is None
    assert (str(token), "b" in repr(token)) == ("a", False)


def test_config_show_and_check_tell_where_a_token_comes_from_and_run_nothing(disk, secret, tmp_path, monkeypatch):
    command = json.dumps(["touch", str(tmp_path / "ran")])
    disk.write(
        disk.user, f"[client]\ntoken_command = {command}\n[agent]\ntoken_file = {json.dumps(str(secret))}\n"
    )
    monkeypatch.delenv("PIECEWORK_CONFIG", raising=False)
    for name, value in disk.environ.items():
        monkeypatch.setenv(name, value)
    told = json.loads(CliRunner().invoke(main, ["config", "show", "--client", "--agent", "--json"]).stdout)
    assert told["client"]["token"] == {"value": "***", "from": f"file {disk.user}, from the command touch"}
    assert told["agent"]["token"] == {"value": "***", "from": f"file {disk.user}, from the file {secret}"}
    assert CliRunner().invoke(main, ["config", "check"]).exit_code == 0
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv("PIECEWORK_TOKEN_FILE", str(secret))
    told = json.loads(CliRunner().invoke(main, ["config", "show", "--client", "--json"]).stdout)
    assert told["client"]["token"]["from"] == f"environment PIECEWORK_TOKEN_FILE ({secret})"


def test_an_agent_downloads_with_the_token_that_it_read_last(disk, secret):
    environ = configure(AGENT, disk.environ | {"PIECEWORK_TOKEN_FILE": str(secret)}).environ
    settings = Settings(**(Settings.from_env(environ) | {"server": "http://x"}))
    assert isinstance(settings.token, RenewedToken)
    assert find_token(settings, "http://x/a") == "first"
    secret.write_text("second")
    assert settings.token.renew("first") == find_token(settings, "http://x/a") == "second"
    assert find_token(settings, "http://y/a") is None


def test_a_copy_of_such_a_token_is_a_text(secret):
    token, _ = open_token_file(secret)
    copied = pickle.loads(pickle.dumps(token))
    assert (copied, type(copied)) == ("first", str)
    assert token.path == secret
