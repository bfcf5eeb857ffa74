"""Keys and values: what is taken, and what is refused in which words."""

from pathlib import Path

import pytest

from piecework.configuration.keys import CLIENT, Kind
from piecework.configuration.layers import configure
from piecework.configuration.places import ConfigError
from piecework.server.configuration import SECTION as SERVER
from piecework.server.settings import Settings
from piecework.variables import AGENT_NAMES, SERVER_NAMES
from piecework.worker_agent.config.configuration import SECTION as AGENT

SECTIONS = {"server": SERVER, "agent": AGENT, "client": CLIENT}


def load(path: Path, name: str, text: str):
    path.write_text(text)
    path.chmod(0o600)
    return configure(SECTIONS[name], {"PIECEWORK_CONFIG": str(path)})


@pytest.fixture
def refused(tmp_path: Path):
    """Return what is said of a file, without its name."""

    def refused(name: str, text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / "a.toml", name, text)
        assert all(line.startswith(f"{tmp_path / 'a.toml'}: ") for line in caught.value.args)
        return [line.partition(": ")[2] for line in caught.value.args]

    return refused


def test_keys_are_the_variables_without_prefix_in_lower_case():
    assert {name.upper() for name in SERVER.keys} == {*SERVER_NAMES, "OTEL_ENDPOINT"}
    others = {"url", "token", "ca", "profile", "otel_endpoint", "redis_pwd", "couchbase_user", "couchbase_pwd"}
    assert AGENT.keys.keys() == {name.lower() for name in AGENT_NAMES} | others
    for section in (SERVER, AGENT, CLIENT):
        for name, key in section.keys.items():
            assert key.variable.lower().endswith(name)


VALUES = {
    Kind.TEXT: ('"a"', "a"),
    Kind.URLS: ('["http://a", "http://b/"]', "http://a,http://b/"),
    Kind.FLAG: ("true", "true"),
    Kind.WHOLE: ("1_0", "10"),
    Kind.NUMBER: ("1.5", "1.5"),
    Kind.DURATION: ('"1m"', "1m"),
    Kind.TEXTS: ('["a", "b"]', "a,b"),
    Kind.PATH: ('"/x/y"', "/x/y"),
    Kind.PATHS: ('["/x=/y:rw", "~/z"]', None),
}
SPECIAL = {"token": '"t"'}


@pytest.mark.parametrize("name", ["server", "agent"])
def test_each_key_becomes_its_variable(name: str, tmp_path: Path):
    keys = {key: each for key, each in SECTIONS[name].keys.items() if key not in {"profile", "ca"}}
    lines = [f"{key} = {SPECIAL.get(key) or VALUES[each.kind][0]}" for key, each in keys.items()]
    configured = load(tmp_path / "a.toml", name, "\n".join([f"[{name}]", *lines]))
    assert configured.values.keys() == {each.variable for each in keys.values()}
    for key, each in keys.items():
        text = configured.environ[each.variable]
        assert text == (VALUES[each.kind][1] or text) or key in SPECIAL
        each.read(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("port = true", "[server] port: must be a whole number"),
        ("port = 80.0", "[server] port: must be a whole number"),
        ('port = "80"', "[server] port: must be a whole number"),
        ("lease_s = nan", "[server] lease_s: must be a number"),
        ('lease_s = "5m"', "[server] lease_s: must be a number"),
        ("mutable_tags = 1", "[server] mutable_tags: must be true or false"),
        ("host = 1", "[server] host: must be a text"),
        ('host = "a\\nb"', "[server] host: must not have line breaks or other control characters"),
        ("data = []", "[server] data: must be the name of a file or directory, as a text"),
        ('webhook_private = "10.0.0.1"', "[server] webhook_private: must be a list of texts"),
        ('webhook_private = ["a,b"]', "[server] webhook_private: must not have a comma in an entry"),
        ("webhook_private = [1]", "[server] webhook_private: must be a list of texts"),
        ("prot = 1", "[server] prot is no key: did you mean port?"),
        ("lease-s = 1", "[server] lease-s is no key: did you mean lease_s?"),
        ("PIECEWORK_LEASE_S = 1", "[server] PIECEWORK_LEASE_S is no key: did you mean lease_s?"),
        ("drain_timeout_s = 1", "[server] drain_timeout_s is no key: it belongs into [agent]"),
        ("xyzzy = 1", "[server] xyzzy is no key"),
        ("database_url_file = 1", "[server] database_url_file: must be the name of a file, as a text"),
        ('xyzzy_file = "x"', "[server] xyzzy_file is no key"),
    ],
)
def test_a_wrong_line_is_told_with_section_and_key(refused, line: str, said: str):
    assert refused("server", f"[server]\n{line}\n") == [said]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[agnet]\n", "has no section 'agnet': did you mean agent?"),
        ("url = 'x'\n", "url stands in no section: there are server, agent, client, profiles"),
        ("agent = 1\n", "agent must be a section, with a line [agent]"),
        ("[[agent]]\n", "agent must be a section, with a line [agent]"),
        ("profiles = 1\n", "profiles must be a section, with a line [profiles]"),
        ("[profiles]\nurl = 'x'\n", "[profiles] url must be a section, with a line [profiles.NAME]"),
        ("[profiles.lab]\nslots = 1\n", "[profiles.lab] slots is no key: it belongs into [agent]"),
        ("[agent]\ndrain_timeout_s = 'soon'\n", "[agent] drain_timeout_s: 'soon' is no duration: "),
        ("[agent]\nurl = 'here'\n", "[agent] url: 'here' is not the URL of a server"),
        ("[agent]\nurl = ['http://a', 'b']\n", "[agent] url: 'b' is not the URL of a server"),
        ("[agent]\nurl = 1\n", "[agent] url: must be a text, or a list of texts"),
        ("[agent]\nca = '/not/there'\n", "[agent] ca: there is no /not/there"),
    ],
)
def test_what_has_no_place_is_told_with_what_may_be_meant(refused, text: str, said: str):
    [line] = refused("agent", text)
    assert line.startswith(said)


def test_all_that_is_wrong_is_told_at_once(refused):
    assert len(refused("agent", "[agent]\nslot = 1\ntags = 1\n[profiles.a]\nurl = 5\n[other]\n")) == 4


def test_what_other_programs_read_is_left_to_them(tmp_path: Path):
    assert load(tmp_path / "a.toml", "client", "[server]\nnonsense = 1\n").values == {}


def test_files_are_named_from_the_folder_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    found = load(tmp_path / "a.toml", "server", '[server]\ndata = "data"\nroutes_file = "~/routes.yaml"\n').environ
    assert found["PIECEWORK_DATA"] == str(tmp_path / "data")
    assert found["PIECEWORK_ROUTES_FILE"] == "/home/me/routes.yaml"


def test_a_secret_may_be_in_a_file_of_its_own(tmp_path: Path):
    (tmp_path / "secret").write_text("postgresql://u:hush@h/d\n")
    (tmp_path / "secret").chmod(0o644)
    configured = load(tmp_path / "a.toml", "server", '[server]\ndatabase_url_file = "secret"\n')
    assert configured.environ["PIECEWORK_DATABASE_URL"] == "postgresql://u:hush@h/d"
    assert configured.warnings == [
        f"others may read {tmp_path / 'secret'}, which has secrets: chmod 600 {tmp_path / 'secret'}"
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "secret cannot be read: No such file or directory"),
        (b" \n", "secret is empty"),
        (b"\xff", "secret is not UTF-8"),
        (b"hush hush", "the token has a space, a line break or another character that is in no token"),
    ],
)
def test_a_secret_that_cannot_be_used_is_not_repeated(refused, tmp_path: Path, content: bytes | None, said: str):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    [line] = refused("client", '[client]\ntoken_file = "secret"\n')
    assert line.startswith("[client] token_file: ")
    assert line.endswith(said)
    assert "hush" not in line


def test_a_secret_stands_in_one_place(refused):
    text = '[client]\ntoken = "hush"\ntoken_file = "secret"\n'
    assert refused("client", text)[0] == "[client] token_file: cannot stand beside token"


def test_a_value_that_no_setting_can_have_is_told_with_its_place(tmp_path: Path):
    text = "[server]\nport = 70000\nlease_s = 3\nretain_failed = 'x'\n"
    configured = load(tmp_path / "a.toml", "server", text)
    with pytest.raises(ValueError) as caught:
        Settings(**Settings.from_env(configured.environ), page_max=0)
    port, retain, page = sorted(configured.name_places(caught.value.args, SERVER), key=len, reverse=True)[:3]
    lines = sorted([port, retain, page])
    assert lines[0].startswith(f"{tmp_path / 'a.toml'}: [server] port: port is 70000")
    assert lines[1].startswith(f"{tmp_path / 'a.toml'}: [server] retain_failed: retain_failed is wrong")
    assert lines[2] == "page_max is 0, but must be above 0"
