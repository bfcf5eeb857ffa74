"""Variables that nobody reads."""

from dataclasses import fields

import pytest

from piecework.server.settings import Settings
from piecework.variables import KNOWN, PREFIX, find_unknown
from piecework.worker_agent.config.settings import VARIABLES


def test_all_settings_are_known():
    server = {each.name.upper() for each in fields(Settings)}
    agent = {name.removeprefix(PREFIX) for name in VARIABLES if name.startswith(PREFIX)}
    others = {"CA", "PROFILE", "CONFIG", "SERVE_TOKEN", "TOKEN_FILE", "LANGUAGES"}
    assert server | agent | others == KNOWN


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("PIECEWORK_LEASES", "PIECEWORK_LEASE_S"),
        ("PIECEWORK_TOKN", "PIECEWORK_TOKEN"),
        ("PIECEWORK_SLOTS", "PIECEWORK_WORKER_SLOTS"),
        ("PIECEWORK_WORKER_SLOT", "PIECEWORK_WORKER_SLOTS"),
        ("PIECEWORK_FUNCTION_OPEN", "PIECEWORK_FUNCTIONS_OPEN"),
    ],
)
def test_the_variable_that_may_be_meant_is_named(wrong: str, meant: str):
    assert find_unknown({wrong: "1"}) == [f"{wrong} is no variable of Piecework: did you mean {meant}?"]


def test_what_resembles_nothing_is_told_alone():
    assert find_unknown({"PIECEWORK_XYZZY": "1"}) == ["PIECEWORK_XYZZY is no variable of Piecework"]


def test_variables_of_all_programs_and_of_others_are_none_of_its_business():
    environ = dict.fromkeys((PREFIX + name for name in KNOWN), "1")
    kubernetes = ("SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT_8000_TCP", "PORT_8000_TCP_ADDR", "DB_SERVICE_HOST")
    more = {f"PIECEWORK_{name}": "1" for name in kubernetes} | {"PATH": "/", "_PIECEWORK_COMPLETE": "x"}
    assert find_unknown(environ | more) == []
