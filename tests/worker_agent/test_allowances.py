"""What operators allow guests: the options that say so, and how it is offered to servers."""

import pytest

from piecework.worker_agent.config.allowances import name_offer, read_couchbase, read_http, read_redis
from piecework.worker_agent.config.settings import Settings, SettingsError
from piecework.worker_agent.runtimes.services.access import CouchbaseServer, NodeRules, RedisServer, SharedDir


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("Example.com", "example.com"),
        ("example.com:8080", "example.com:8080"),
        ("*", "*"),
        ("*:8080", "*:8080"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("[::1]:80", "[::1]:80"),
        ("fd00::/8", "fd00::/8"),
    ],
)
def test_hosts(text, entry):
    assert read_http(text) == entry


@pytest.mark.parametrize(
    "text",
    ["", "http://a.test", "a.test/path", "a b", "a.test:0", "a.test:65536", "*.a.test", "**", "user@a.test", "-a"],
)
def test_what_is_no_host_is_refused(text):
    with pytest.raises(ValueError, match="is no host"):
        read_http(text)


def test_servers():
    assert read_redis("r.test", "p") == RedisServer("r.test", 6379, "p", 0)
    assert read_redis("[::1]:7000/3") == RedisServer("::1", 7000, "", 3)
    assert read_couchbase("c.test", "u", "p") == CouchbaseServer("c.test", 8093, False, "u", "p")
    assert read_couchbase("https://c.test:18093") == CouchbaseServer("c.test", 18093, True)


@pytest.mark.parametrize("read", [read_redis, read_couchbase])
@pytest.mark.parametrize("text", ["", "a b", "a.test:x", "a.test:99999"])
def test_what_is_no_address_of_a_server_is_refused(read, text):
    with pytest.raises(ValueError, match="is no address"):
        read(text)


@pytest.mark.parametrize("read", [read_redis, read_couchbase])
def test_password_in_an_address_is_refused_and_not_repeated(read):
    with pytest.raises(ValueError, match="_PWD") as caught:
        read("user:hunter2@a.test")
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def make_rules(tmp_path):
    """Return a function: the rules of an agent with these options."""

    def make(environ=None, **options):
        (tmp_path / "data").mkdir(exist_ok=True)
        return Settings(state=tmp_path / "state", **options).make_rules(environ or {})

    return make


def test_nothing_is_allowed_by_default(make_rules):
    assert make_rules() == NodeRules()


def test_rules_have_what_the_options_say(make_rules, tmp_path):
    data = tmp_path / "data"
    rules = make_rules(
        {"LANG": "C", "OTHER": "x"},
        allow_http=("a.test",),
        allow_redis="r.test",
        redis_password="secret",
        allow_files=str(tmp_path / "files"),
        allow_dir=(f"{data}", f"{data}=/out:rw", f"{data}=/in:ro", f"{data}=/"),
        allow_env=("LANG",),
    )
    assert rules == NodeRules(
        http=("a.test",),
        redis=RedisServer("r.test", password="secret"),
        folder=str(tmp_path / "files"),
        dirs=(
            SharedDir(str(data), str(data)),
            SharedDir(str(data), "/out", write=True),
            SharedDir(str(data), "/in"),
            SharedDir(str(data), "/"),
        ),
        env={"LANG": "C"},
    )
    assert (tmp_path / "files").stat().st_mode & 0o777 == 0o700
    assert "secret" not in repr(rules)


def test_name_of_a_bucket_can_be_given_but_no_password(make_rules):
    environ = {"COUCHBASE_BUCKET": "wasm-data", "COUCHBASE_PWD": "secret"}
    rules = make_rules(environ, allow_couchbase="c.test", allow_env=("COUCHBASE_BUCKET",))
    assert rules.env == {"COUCHBASE_BUCKET": "wasm-data"}
    with pytest.raises(SettingsError):
        make_rules(environ, allow_env=("COUCHBASE_PWD",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allow_dir": ("/nonexistent",)}, "--allow-dir: '/nonexistent' is no directory"),
        ({"allow_dir": ("{tmp}/data=data",)}, "'data' is no path for guests"),
        ({"allow_dir": ("{tmp}/data=/../etc",)}, "'/../etc' is no path for guests"),
        ({"allow_dir": ("{tmp}/data=/a/",)}, "'/a/' is no path for guests"),
        ({"allow_dir": ("{tmp}/data=/a:rx",)}, "'/a:rx' is no path for guests"),
        ({"allow_dir": ("{tmp}/data=/a", "{tmp}/data=/a:rw")}, "two directories at '/a'"),
        ({"allow_dir": ("{tmp}=/a",)}, "the agent's own state"),
        ({"allow_dir": ("/=/a",)}, "the agent's own state"),
        ({"allow_files": "{tmp}"}, "the agent's own state"),
        ({"allow_files": "/dev/null/x"}, "--allow-files: '/dev/null/x' cannot be used"),
        ({"allow_env": ("PIECEWORK_TOKEN",)}, "the agent's own"),
        ({"allow_env": ("REDIS_PWD",)}, "the agent's own"),
        ({"allow_env": ("A=B",)}, "is no name of a variable"),
        ({"allow_env": ("NOWHERE",)}, "--allow-env: NOWHERE is not set"),
    ],
)
def test_option_that_cannot_be_used_is_named(make_rules, tmp_path, options, message):
    filled = {
        name: value.replace("{tmp}", str(tmp_path))
        if isinstance(value, str)
        else tuple(text.replace("{tmp}", str(tmp_path)) for text in value)
        for name, value in options.items()
    }
    with pytest.raises(SettingsError) as caught:
        make_rules({"PIECEWORK_TOKEN": "t", "REDIS_PWD": "p"}, **filled)
    assert message in str(caught.value)


def test_all_options_that_cannot_be_used_are_named_at_once(make_rules):
    with pytest.raises(SettingsError) as caught:
        make_rules(allow_http=("a b", "c d"), allow_redis="x y", allow_env=("NOWHERE",))
    assert len(caught.value.args) == 4


def test_runtimes_are_offered_with_what_their_guests_can_use():
    rules = NodeRules(
        http=("a.test",), redis=RedisServer("r"), dirs=(SharedDir("/srv", "/data"),), env={"LANG": "C"}
    )
    assert name_offer("capsule", rules) == "capsule+http+redis+env+dir:/data"
    assert name_offer("component", rules) == "component+http+env+dir:/data"
    assert name_offer("funless", rules) == "funless+http"
    assert name_offer("wasi", rules) == "wasi+env+dir:/data"
    assert name_offer("wasi+env+big", rules) == "wasi+env+big+dir:/data"
    assert name_offer("micropython", rules) == "micropython+env+dir:/data"
    assert name_offer("wasi", NodeRules()) == "wasi"
