import base64
import contextlib
import json
import stat

import pytest
from hypothesis import given, strategies

from piecework.oci.credentials import _ask, ask_helper, find_credentials, list_files
from piecework.oci.errors import OciError
from piecework.oci.references import Reference

GHCR = Reference.parse("oci://ghcr.io/team/hello:1")
HUB = Reference.parse("oci://docker.io/hello:1")


def encode(user, password):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def find(tmp_path):
    """Find login data in a home with this ``~/.docker/config.json``."""

    def find(config, reference=GHCR, ask=ask_helper, environ=None):
        path = tmp_path / ".docker" / "config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(config if isinstance(config, bytes) else json.dumps(config).encode())
        return find_credentials(reference, environ or {}, tmp_path, ask)

    return find


@pytest.mark.parametrize("name", ["ghcr.io", "https://ghcr.io", "https://GHCR.io/v2/", "http://ghcr.io/v1/"])
def test_login_is_found_under_any_spelling(find, name):
    found = find({"auths": {"other.io": {"auth": encode("x", "y")}, name: {"auth": encode("me", "a:b")}}})
    assert (found.user, found.secret, found.is_identity_token) == ("me", "a:b", False)
    assert "a:b" not in repr(found)


def test_login_of_another_host_is_not_taken(find):
    names = ["ghcr.io:443", "ghcr.io.evil.org", "io", "sub.ghcr.io", "ghcr.io/other"]
    assert find({"auths": {name: {"auth": encode("me", "secret")} for name in names}}) is None
    assert find({"auths": {"ghcr.io": {}}}) is None
    assert find({}) is None
    assert find(b"") is None


def test_login_of_the_nearest_namespace_wins(find):
    auths = {"ghcr.io": encode("all", "1"), "ghcr.io/team": encode("team", "2"), "ghcr.io/te": encode("te", "3")}
    assert find({"auths": {name: {"auth": auth} for name, auth in auths.items()}}).user == "team"


def test_docker_hub_has_its_old_name(find):
    for name in ("https://index.docker.io/v1/", "docker.io"):
        assert find({"auths": {name: {"auth": encode("me", "secret")}}}, HUB).user == "me"


def test_identity_tokens_are_told_from_passwords(find):
    found = find({"auths": {"ghcr.io": {"auth": encode("me", ""), "identitytoken": "tok"}}})
    assert (found.secret, found.is_identity_token) == ("tok", True)


def test_helper_of_the_host_is_asked_first(find):
    asked = []

    def ask(name, server):
        asked.append((name, server))
        return b'{"ServerURL": "x", "Username": "<token>", "Secret": "s"}' if name == "own" else None

    config = {"credHelpers": {"ghcr.io": "own"}, "credsStore": "store", "auths": {"ghcr.io": {}}}
    assert find(config, ask=ask).is_identity_token
    assert find(config, HUB, ask=ask) is None
    assert asked == [("own", "ghcr.io"), ("store", "https://index.docker.io/v1/")]


def test_what_a_helper_does_not_know_may_be_in_the_file(find):
    config = {"credsStore": "store", "auths": {"ghcr.io": {"auth": encode("me", "secret")}}}
    assert find(config, ask=lambda *_: None).user == "me"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (b"{", "no file of login data"),
        (b'{"auths": []}', "no file of login data"),
        (b'{"auths": {"ghcr.io": {"auth": 5}}}', "no file of login data"),
        ({"auths": {"ghcr.io": {"auth": "hunter2"}}}, "damaged: log in again"),
        ({"auths": {"ghcr.io": {"auth": "aHVudGVyMg=="}}}, "damaged: log in again"),
        ({"credsStore": "../hunter2"}, "no name of one"),
        ({"credsStore": "nobody-has-this"}, "docker-credential-nobody-has-this, .* is not installed"),
        (b" " * (1024 * 1024 + 1), "too long"),
    ],
)
def test_damaged_files_are_told_without_secrets(find, config, reason):
    with pytest.raises(OciError, match=reason) as refused:
        find(config)
    assert "hunter2" not in str(refused.value)


@given(strategies.binary(max_size=200))
def test_any_answer_of_a_helper_is_taken(answer):
    with contextlib.suppress(OciError):
        assert _ask("store", "ghcr.io", lambda *_: answer) is None


def test_files_are_looked_at_in_order(tmp_path):
    assert list_files({"REGISTRY_AUTH_FILE": "/named"}, tmp_path)[0].name == "named"
    environ = {"DOCKER_CONFIG": "/docker", "XDG_RUNTIME_DIR": "/run/me", "XDG_CONFIG_HOME": "/cfg"}
    assert list(map(str, list_files(environ, tmp_path))) == [
        "/docker/config.json",
        "/run/me/containers/auth.json",
        "/cfg/containers/auth.json",
    ]


def test_podman_is_asked_when_docker_knows_nothing(find, tmp_path):
    (tmp_path / "containers").mkdir()
    kept = {"auths": {"ghcr.io": {"auth": encode("podman", "secret")}}}
    (tmp_path / "containers" / "auth.json").write_text(json.dumps(kept))
    assert find({"auths": {}}, environ={"XDG_RUNTIME_DIR": str(tmp_path)}).user == "podman"


def test_named_file_counts_alone(find, tmp_path):
    config = {"auths": {"ghcr.io": {"auth": encode("docker", "secret")}}}
    (tmp_path / "own.json").write_text("{}")
    assert find(config, environ={"REGISTRY_AUTH_FILE": str(tmp_path / "own.json")}) is None
    with pytest.raises(OciError, match="which is not there"):
        find(config, environ={"REGISTRY_AUTH_FILE": str(tmp_path / "none")})


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Put a program of this text where ``docker-credential-test`` is found."""

    def put(script):
        program = tmp_path / "docker-credential-test"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return put


def test_helper_is_run_as_its_protocol_says(helper):
    helper('read -r server; echo "$1 $server"')
    assert ask_helper("test", "ghcr.io") == b"get ghcr.io\n"


def test_helper_that_knows_nothing_or_fails(helper):
    helper('echo "credentials not found in native keychain"; exit 1')
    assert ask_helper("test", "ghcr.io") is None
    helper("echo the secret is hunter2; exit 3")
    with pytest.raises(OciError, match=r"failed for ghcr.io with exit code 3") as failed:
        ask_helper("test", "ghcr.io")
    assert "hunter2" not in str(failed.value)
