"""What an agent's settings make of the parts that serve functions."""

import pytest
from loading import loaded_by

from piecework.worker_agent.assembly import choose_functions
from piecework.worker_agent.config.settings import Settings
from piecework.worker_agent.host import find_token, list_allowances

SERVER = "http://queue.test:8000"


def test_options_of_the_operator_are_handed_on_without_passwords():
    settings = Settings(
        compile_memory_bytes=3 << 30,
        allow_http=("a.test", "b.test:81"),
        allow_redis="redis.test",
        redis_password="secret",
        allow_dir=("/srv:ro",),
        allow_env=("REGION",),
    )
    assert list_allowances(settings) == (
        *("--compile-memory", "3072"),
        *("--allow-http", "a.test", "--allow-http", "b.test:81", "--allow-redis", "redis.test"),
        *("--allow-dir", "/srv:ro", "--allow-env", "REGION"),
    )


@pytest.mark.parametrize(
    ("url", "token"),
    [
        (f"{SERVER}/registry/a/b/c/b.wasm", "ours"),
        ("http://queue.test:8001/x", None),
        ("https://queue.test:8000/x", None),
        ("http://proxy.test", "theirs"),
        ("http://proxy.test:80/x", "theirs"),
        ("http://elsewhere.test/x", None),
    ],
)
def test_each_token_goes_to_its_own_server_only(url, token):
    settings = Settings(
        server=SERVER, token="ours", reverse_proxy="http://proxy.test", reverse_proxy_token="theirs"
    )
    assert find_token(settings, url) == token


def test_the_token_goes_to_each_of_several_servers():
    settings = Settings(server=f"{SERVER},http://other.test", token="ours")
    found = [find_token(settings, url) for url in (SERVER, "http://other.test/x", "http://elsewhere.test")]
    assert found == ["ours", "ours", None]


def test_proxy_that_is_the_server_gets_the_agents_token():
    settings = Settings(server=SERVER, token="ours", reverse_proxy=SERVER)
    assert find_token(settings, SERVER) == "ours"


@pytest.mark.integration
def test_agent_that_serves_no_functions_does_not_load_what_that_needs():
    assert choose_functions(Settings(), None, None, None) is None
    unused = {"flask", "waitress", "granian", "piecework.worker_agent.capsule_node"}
    assert loaded_by("piecework.worker_agent.assembly") & unused == set()


@pytest.mark.integration
def test_node_without_an_api_of_its_own_loads_no_web_server():
    assert loaded_by("piecework.worker_agent.host") & {"flask", "waitress", "granian"} == set()
