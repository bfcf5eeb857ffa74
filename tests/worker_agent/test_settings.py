from pathlib import Path

import pytest

from piecework.worker_agent.config.settings import MIB, VARIABLES, Settings, SettingsError


def test_environment_gives_only_what_is_set():
    assert Settings.from_env({}) == {}
    assert Settings.from_env({"PIECEWORK_WORKER_SLOTS": "3", "PIECEWORK_URL": "", "HOME": "/x"}) == {"slots": 3}


READ = {
    "PIECEWORK_URL": ("https://queue.test", "server", "https://queue.test"),
    "PIECEWORK_TOKEN": ("secret", "token", "secret"),
    "PIECEWORK_CA": ("/etc/lab.pem", "ca", Path("/etc/lab.pem")),
    "PIECEWORK_WORKER_STATE": ("/var/lib/agent", "state_path", Path("/var/lib/agent")),
    "PIECEWORK_WORKER_SLOTS": ("3", "slots", 3),
    "PIECEWORK_WORKER_RUNTIMES": ("wasi, default", "runtimes", ("wasi", "default")),
    "PIECEWORK_WORKER_INTERPRETERS": ("/srv/interpreters", "interpreters_path", Path("/srv/interpreters")),
    "PIECEWORK_WORKER_TAGS": ("gpu,,big", "tags", ("gpu", "big")),
    "PIECEWORK_WORKER_NAME": ("node-7", "name", "node-7"),
    "PIECEWORK_WORKER_CACHE_MB": ("10", "cache_bytes", 10 * MIB),
    "PIECEWORK_WORKER_DRAIN_TIMEOUT_S": ("1.5", "drain_timeout_s", 1.5),
    "PIECEWORK_WORKER_COMPILE_TIMEOUT_S": ("10m", "compile_timeout_s", 600.0),
    "PIECEWORK_WORKER_COMPILE_MEMORY_MB": ("8192", "compile_memory_bytes", 8192 * MIB),
    "PIECEWORK_WORKER_PREFETCH": ("0", "prefetch", 0),
    "PIECEWORK_WORKER_ENGINE": ("pulley", "engine", "pulley"),
    "PIECEWORK_WORKER_LOG_FORMAT": ("json", "log_format", "json"),
    "PIECEWORK_WORKER_LOG_LEVEL": ("debug", "log_level", "debug"),
    "PIECEWORK_WORKER_WAIT": ("no", "wait", False),
    "PIECEWORK_WORKER_STALL_EXIT_S": ("600", "stall_exit_s", 600),
    "PIECEWORK_WORKER_EXIT_WHEN_IDLE_S": ("0", "exit_when_idle_s", 0.0),
    "PIECEWORK_WORKER_ALLOW_HTTP": ("a.test, b.test:81", "allow_http", ("a.test", "b.test:81")),
    "PIECEWORK_WORKER_ALLOW_REDIS": ("redis.test/3", "allow_redis", "redis.test/3"),
    "REDIS_PWD": ("secret1", "redis_password", "secret1"),
    "PIECEWORK_WORKER_ALLOW_COUCHBASE": ("https://couch.test", "allow_couchbase", "https://couch.test"),
    "COUCHBASE_USER": ("guest", "couchbase_user", "guest"),
    "COUCHBASE_PWD": ("secret2", "couchbase_password", "secret2"),
    "PIECEWORK_WORKER_ALLOW_FILES": ("/var/lib/agent-files", "allow_files", "/var/lib/agent-files"),
    "PIECEWORK_WORKER_ALLOW_DIR": ("/srv/data=/data,/out:rw", "allow_dir", ("/srv/data=/data", "/out:rw")),
    "PIECEWORK_WORKER_ALLOW_ENV": ("LANG,REGION", "allow_env", ("LANG", "REGION")),
    "PIECEWORK_WORKER_FUNCTIONS": ("4", "functions", 4),
    "PIECEWORK_WORKER_FUNCTIONS_HOST": ("10.0.0.5", "functions_host", "10.0.0.5"),
    "PIECEWORK_WORKER_FUNCTIONS_PORT": ("9999", "functions_port", 9999),
    "PIECEWORK_WORKER_FUNCTIONS_FIRST_PORT": ("20000", "functions_first_port", 20_000),
    "PIECEWORK_WORKER_FUNCTIONS_TOKEN": ("secret3", "functions_token", "secret3"),
    "PIECEWORK_WORKER_FUNCTIONS_OPEN": ("yes", "functions_open", True),
    "PIECEWORK_WORKER_FUNCTIONS_START_TIMEOUT_S": ("5", "functions_start_timeout_s", 5.0),
    "PIECEWORK_WORKER_REVERSE_PROXY": ("http://proxy.test:8888", "reverse_proxy", "http://proxy.test:8888"),
    "PIECEWORK_WORKER_REVERSE_PROXY_TOKEN": ("secret4", "reverse_proxy_token", "secret4"),
    "PIECEWORK_OTEL_ENDPOINT": ("http://traces.test:4318", "otel_endpoint", "http://traces.test:4318"),
    "PIECEWORK_WORKER_METRICS_HOST": ("10.0.0.6", "metrics_host", "10.0.0.6"),
    "PIECEWORK_WORKER_METRICS_PORT": ("9100", "metrics_port", 9100),
    "PIECEWORK_WORKER_REGISTRY": ("http://registry.test/x", "registry", "http://registry.test/x"),
}
"""Of each variable: its text, the setting that it is, and its value."""


def test_every_variable_is_read():
    assert set(READ) == set(VARIABLES)
    settings = Settings(**Settings.from_env({variable: text for variable, (text, _, _) in READ.items()}))
    assert [getattr(settings, name) for _, name, _ in READ.values()] == [value for _, _, value in READ.values()]
    assert "secret" not in repr(settings)


def test_an_agent_may_be_told_to_end_when_it_is_idle():
    assert Settings.from_env({"PIECEWORK_WORKER_EXIT_WHEN_IDLE_S": "5m"}) == {"exit_when_idle_s": 300.0}


def test_all_variables_that_cannot_be_read_are_named_at_once():
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(
            {"PIECEWORK_WORKER_SLOTS": "two", "PIECEWORK_WORKER_WAIT": "perhaps", "PIECEWORK_WORKER_PREFETCH": "1"}
        )
    assert len(caught.value.args) == 2
    assert "PIECEWORK_WORKER_SLOTS='two'" in str(caught.value)
    assert "PIECEWORK_WORKER_WAIT='perhaps'" in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"server": "ftp://queue.test"}, "'ftp://queue.test' is not the URL of a server"),
        ({"server": "queue.test:8000"}, "not the URL"),
        ({"server": "http://queue.test:80000"}, "server"),
        ({"server": "http://queue.test?x=1"}, "not the URL"),
        ({"runtimes": ("cobol",)}, "'cobol': this node can run default, capsule, funless, component, wasi"),
        ({"runtimes": ()}, "this node can run"),
        ({"slots": 0}, "slots is 0"),
        ({"slots": 5000}, "slots is 5000"),
        ({"prefetch": -1}, "prefetch is -1"),
        ({"cache_bytes": 10}, "cache_bytes is 10"),
        ({"compile_timeout_s": 0.5}, "compile_timeout_s is 0.5"),
        ({"compile_memory_bytes": 10}, "compile_memory_bytes is 10"),
        ({"drain_timeout_s": -0.1}, "drain_timeout_s is -0.1"),
        ({"drain_timeout_s": float("nan")}, "drain_timeout_s is nan"),
        ({"stall_exit_s": 1}, "stall_exit_s is 1"),
        ({"log_format": "xml"}, "log format 'xml'"),
        ({"engine": "jit"}, "engine 'jit' is not one of cranelift, cranelift-none, pulley"),
        ({"log_level": "loud"}, "log level 'loud'"),
        ({"name": "a\udcff"}, "name has a byte that is not UTF-8"),
        ({"tags": ("a", "b\udcff")}, "tags[1] has a byte that is not UTF-8"),
        ({"functions_token": "a\0"}, "functions token has the character NUL"),
        ({"allow_files": "/a\udcff"}, "allow files has a byte that is not UTF-8"),
        ({"state": Path("/a\udcff")}, "state has a byte that is not UTF-8"),
        ({"token": "a b"}, "token: the token has a space"),
        ({"reverse_proxy_token": "a\udcff"}, "reverse proxy token: the token has a space"),
    ],
)
def test_value_that_cannot_be_used_is_named(wrong, message):
    with pytest.raises(SettingsError) as caught:
        Settings(**wrong)
    assert message in str(caught.value)


def test_the_file_of_an_authority_may_have_any_name():
    assert Settings(ca=Path("/a\udcff")).ca == Path("/a\udcff")


def test_all_values_that_cannot_be_used_are_named_at_once():
    with pytest.raises(SettingsError) as caught:
        Settings(server="x", slots=0, runtimes=("cobol",))
    assert len(caught.value.args) == 3


def test_runtime_with_a_feature_is_offered_when_its_base_is():
    assert Settings(runtimes=("wasi+big",)).runtimes == ("wasi+big",)


def test_token_is_not_shown():
    assert "secret" not in repr(Settings(token="secret"))


def test_each_server_has_a_state_directory_of_its_own():
    paths = {
        Settings(server=url).state_path
        for url in ("http://a.test", "http://b.test", "http://a.test:81", "https://a.test/x")
    }
    assert len(paths) == 4
    assert all(path.parent.name == "agents" for path in paths)


def test_further_servers_do_not_change_where_state_is_kept():
    both = Settings(server="http://a.test/, http://b.test")
    assert both.servers == ["http://a.test", "http://b.test"]
    assert both.state_path == Settings(server="http://a.test").state_path


def test_slash_at_the_end_of_the_url_makes_no_difference():
    assert Settings(server="http://a.test/").state_path == Settings(server="http://a.test").state_path


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"functions_host": "0.0.0.0"}, "give an address at which others reach this node"),
        ({"functions_host": "10.0.0.5", "functions_port": 9999}, "the node's own API needs a token"),
        ({"functions": -1}, "functions is -1"),
        ({"functions_port": 70_000}, "functions_port is 70000"),
        ({"reverse_proxy": "localhost:8888"}, "reverse proxy: 'localhost:8888' is not the URL"),
        ({"registry": "ftp://x"}, "registry: 'ftp://x' is not the URL"),
        ({"otel_endpoint": "nonsense"}, "otel endpoint: 'nonsense' is not the URL"),
    ],
)
def test_settings_of_functions_that_cannot_be_used_are_named(given, problem):
    with pytest.raises(SettingsError, match=problem):
        Settings(**given)


@pytest.mark.parametrize("given", [{"functions_host": "::1", "functions_port": 1}, {"functions_host": "10.0.0.5"}])
def test_addresses_of_functions_that_others_do_not_reach_need_no_token(given):
    assert Settings(**given).functions_token is None


def test_a_name_for_functions_becomes_the_address_that_is_announced():
    named = Settings(functions_host="localhost", functions=2, functions_port=9999)
    assert named.with_address().functions_host == "127.0.0.1"
    assert Settings(functions_host="nowhere.invalid").with_address().functions_host == "nowhere.invalid"


@pytest.mark.parametrize(
    ("address", "problem"),
    [("0.0.0.0", "give an address at which others"), ("192.0.2.7", "192.0.2.7 is reached from elsewhere")],
)
def test_rules_of_addresses_hold_for_what_a_name_leads_to(address, problem, monkeypatch):
    monkeypatch.setattr("piecework.worker_agent.config.settings.resolve_host", lambda _: address)
    with pytest.raises(SettingsError, match=problem):
        Settings(functions_host="node7.example", functions_port=9999).with_address()


def test_a_name_for_functions_that_leads_nowhere_is_refused():
    with pytest.raises(
        SettingsError, match=r"functions host: cannot listen on 'nowhere\.invalid', which leads to no"
    ):
        Settings(functions_host="nowhere.invalid", functions=1).with_address()
