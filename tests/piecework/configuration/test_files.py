"""Which files are read, and what is said of those that cannot be or that others may read."""

import os
from pathlib import Path

import pytest

from piecework.configuration.files import SECRETS, read_file, read_files
from piecework.configuration.keys import CLIENT
from piecework.configuration.layers import configure
from piecework.configuration.places import ConfigError, find_places, find_user_place, has_configuration
from piecework.server.configuration import SECTION as SERVER
from piecework.worker_agent.config.configuration import SECTION as AGENT


def test_a_user_overrides_the_system(disk):
    assert find_places(disk.environ) == [disk.system, disk.user]
    disk.write(disk.system, '[client]\nurl = "http://system"\n[server]\nport = 1\n')
    disk.write(disk.user, '[client]\nurl = "http://user"\n')
    assert configure(CLIENT, disk.environ).environ["PIECEWORK_URL"] == "http://user"
    assert configure(SERVER, disk.environ).environ["PIECEWORK_PORT"] == "1"


def test_a_named_file_is_the_only_one(disk, tmp_path: Path):
    disk.write(disk.user, "[server]\nport = 1\nlease_s = 2\n")
    named = disk.write(tmp_path / "own.toml", "[server]\nport = 3\n")
    configured = configure(SERVER, disk.environ | {"PIECEWORK_CONFIG": str(named)})
    assert {name: value.text for name, value in configured.values.items()} == {"PIECEWORK_PORT": "3"}


def test_a_named_file_must_be_there(disk, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml.* cannot be read: No such file or directory"):
        configure(CLIENT, disk.environ | {"PIECEWORK_CONFIG": str(tmp_path / "nowhere.toml")})


def test_a_file_in_the_current_directory_is_not_read(disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "piecework").mkdir()
    for path in (tmp_path / "piecework.toml", tmp_path / "piecework" / "piecework.toml"):
        disk.write(path, '[client]\nurl = "http://evil"\n')
    monkeypatch.chdir(tmp_path)
    for base in ("", ".", "home/.."):
        place = find_user_place({"XDG_CONFIG_HOME": base})
        assert place is not None
        assert place.is_absolute()
        assert tmp_path not in place.parents
    assert not has_configuration(disk.environ)


def test_nothing_changes_where_there_is_no_file(disk):
    environ = {**disk.environ, "PIECEWORK_URL": "http://a"}
    assert configure(CLIENT, environ).environ is environ


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[server]\nport = \n", r"is no TOML: .*line 2"),
        (b"[server\n", "is no TOML: .*line 1"),
        (b"[server]\nport = 1\nport = 2\n", "is no TOML: .*line 3"),
        (b"a = " + b"[" * 5000, "is no TOML: too deep"),
        (b"a = " + b"9" * 5000, "is no TOML: Exceeds the limit"),
        (b"a = '\xff'", "is not UTF-8"),
        (b"#" * 1024 * 1024 + b"#", "is larger than a configuration file may be"),
    ],
)
def test_what_is_no_configuration_is_told_with_its_file(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^{path} {reason}"):
        read_file(path)


def test_a_mark_at_the_begin_of_a_file_is_no_fault(tmp_path: Path):
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf[server]\r\nport = 1\r\n")
    assert read_file(tmp_path / "a.toml").tables == {"server": {"port": 1}}


def test_a_directory_is_no_file(disk):
    disk.user.mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        read_files(disk.environ)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_stops_all_but_clients(disk):
    disk.write(disk.system, "[server]\nport = 1\n").chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        read_files(disk.environ)
    assert read_files(disk.environ, shared=True) == []
    disk.write(disk.user, "").chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        read_files(disk.environ, shared=True)


def test_a_client_passes_over_the_file_of_others(disk, monkeypatch: pytest.MonkeyPatch):
    disk.write(disk.system, "[clinet]\n")
    monkeypatch.setattr(os, "access", lambda path, _mode: path != disk.system)
    assert configure(CLIENT, disk.environ).values == {}
    with pytest.raises(ConfigError, match="clinet"):
        configure(AGENT, disk.environ)


@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [
        ('[client]\ntoken = "x"\n', 0o600, ""),
        ('[client]\ntoken = "x"\n', 0o604, "others may read"),
        ('[profiles.lab]\ntoken = "x"\n', 0o644, "others may read"),
        ('[server]\ndatabase_url = "x"\n', 0o644, "others may read"),
        ('[client]\nurl = "http://a"\ntoken_file = "b"\n', 0o644, ""),
        ('[client]\nurl = "http://a"\n', 0o646, "everybody may change"),
    ],
)
def test_a_file_with_secrets_is_for_its_user_alone(tmp_path: Path, text: str, mode: int, warned: str):
    path = tmp_path / "a.toml"
    path.write_text(text)
    path.chmod(mode)
    exposure = read_file(path).exposure
    assert exposure.startswith(warned)
    assert exposure.endswith(f"chmod 600 {path}") == bool(warned)


def test_only_root_shares_secrets_with_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.toml"
    path.write_text('[agent]\ntoken = "x"\n')
    path.chmod(0o640)
    real = os.fstat

    def owned_by(uid: int):
        return lambda number: os.stat_result([*real(number)[:4], uid, *real(number)[5:10]])

    monkeypatch.setattr(os, "fstat", owned_by(0))
    assert read_file(path).exposure == ""
    monkeypatch.setattr(os, "fstat", owned_by(1000))
    assert read_file(path).exposure.startswith("others may read")


def test_all_secrets_of_the_settings_are_known_as_such():
    keys = {name for section in (SERVER, AGENT, CLIENT) for name, key in section.keys.items() if key.secret}
    assert keys == SECRETS
