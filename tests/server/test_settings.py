"""Where settings come from, and which values are refused."""

from dataclasses import fields
from pathlib import Path

import pytest

from piecework.server.settings import PREFIX, Settings, SettingsError


def test_only_what_is_set_is_read_from_the_environment():
    environ = {
        "PIECEWORK_PORT": "9000",
        "PIECEWORK_DATA": "/d",
        "PIECEWORK_LEASE_S": "2.5",
        "PORT": "1",
        "PIECEWORK_HOST": "",
    }
    assert Settings.from_env(environ) == {"port": 9000, "data": Path("/d"), "lease_s": 2.5}


def test_every_setting_can_be_set():
    for each in fields(Settings):
        assert each.name in Settings.from_env(
            {PREFIX + each.name.upper(): str(each.default) or "postgresql://x/y"}
        )


def test_every_wrong_variable_is_named():
    with pytest.raises(SettingsError, match=r"PIECEWORK_PORT='x'.*PIECEWORK_LEASE_S='y'"):
        Settings.from_env({"PIECEWORK_PORT": "x", "PIECEWORK_LEASE_S": "y"})


def test_a_flag_is_read_from_the_usual_words():
    for text, value in {"1": True, "Yes": True, "true": True, "0": False, "no": False, "FALSE": False}.items():
        assert Settings.from_env({"PIECEWORK_MUTABLE_TAGS": text}) == {"mutable_tags": value}
    with pytest.raises(SettingsError, match="PIECEWORK_MUTABLE_TAGS='maybe' is not true or false"):
        Settings.from_env({"PIECEWORK_MUTABLE_TAGS": "maybe"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 70_000},
        {"lease_s": 0},
        {"waiters_max": -5},
        {"synchronous": "MAYBE"},
        {"bulk_max": 0},
        {"database_url": "mysql://me:secret@db/x"},
        {"otel_endpoint": "nonsense"},
    ],
)
def test_a_value_that_cannot_work_is_refused(wrong: dict):
    with pytest.raises(SettingsError, match=next(iter(wrong))) as refused:
        Settings(**wrong)
    assert "secret" not in str(refused.value)


def test_all_values_that_cannot_work_are_named_at_once():
    with pytest.raises(SettingsError, match=r"lease_s.*page_max.*port"):
        Settings(lease_s=-1, page_max=0, port=-1)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("LocalHost", True),
        ("0.0.0.0", False), ("::", False), ("192.168.0.1", False), ("localhost.example", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_is_told_from_other_hosts(host: str, loopback: bool):
    assert Settings(host=host).is_loopback is loopback


def test_the_database_is_a_file_in_the_data_directory_unless_a_url_is_given(tmp_path: Path):
    assert Settings(data=tmp_path).url == f"sqlite:///{tmp_path}/piecework.db"
    assert Settings(data=tmp_path, database_url="postgresql://x/y").url == "postgresql://x/y"


def test_the_password_in_the_database_url_is_not_shown():
    assert "hush" not in repr(Settings(database_url="postgresql://u:hush@h/d"))
