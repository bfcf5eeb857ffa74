"""Who is told the login, and who is not: tokens, redirects, TLS."""

import base64
import json
import ssl

import pytest
import trustme
from fake_registry import FakeRegistry, sha256
from guest_texts import build

from piecework.oci.errors import OciError, RegistryRefused
from piecework.oci.pulling import pull_module

MODULE = build('(module (memory (export "memory") 1) (func (export "_start")))')
PASSWORD = base64.b64encode(b"me:hunter2").decode()
MANIFEST = ("GET", "/v2/hello/manifests/1")
BLOB = ("GET", f"/v2/hello/blobs/{sha256(MODULE)}")


@pytest.fixture
def other():
    """Another host, to which a registry may lead."""
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture
def pull(registry, tmp_path):
    """Pull a module with the login data of a file."""
    registry.put_module("1", registry.put_blob(MODULE))

    def pull(auth=None, **options):
        kept = {"auths": {registry.host: {"auth": PASSWORD} if auth is None else auth}}
        (tmp_path / "auth.json").write_text(json.dumps(kept))
        environ = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
        return pull_module(registry.refer(), tmp_path / "out.wasm", registry.access(environ=environ, **options))

    return pull


def want(challenge, right):
    """Answer 401 unless the right header comes."""
    return lambda handler: (
        None if handler.headers.get("Authorization") == right else (401, {"WWW-Authenticate": challenge}, b"")
    )


def seen(registry):
    return {headers.get("Authorization") for _, _, headers in registry.requests}


def test_password_goes_to_who_asks_for_it(registry, pull):
    registry.answers[MANIFEST] = want('Basic realm="x"', f"Basic {PASSWORD}")
    assert pull().size == len(MODULE)
    assert seen(registry) == {None, f"Basic {PASSWORD}"}


def test_nothing_is_told_to_who_does_not_ask(registry, pull):
    pull()
    assert seen(registry) == {None}


def test_token_is_fetched_with_the_password(registry, other, pull):
    realm = f'Bearer realm="http://{other.host}/token?a=b",service="s s"'
    registry.answers[MANIFEST] = want(realm, "Bearer tok")
    other.answers["GET", "/token"] = (200, {}, b'{"access_token": "tok"}')
    assert pull().size == len(MODULE)
    assert other.lines() == ["GET /token?a=b&service=s+s&scope=repository%3Ahello%3Apull"]
    assert seen(other) == {f"Basic {PASSWORD}"}
    assert seen(registry) == {None, "Bearer tok"}


def test_token_of_everybody_is_fetched_without_login(registry, other, pull):
    registry.answers[MANIFEST] = want(
        [f'Bearer realm="http://{other.host}/token",scope="repository:x:pull"', "Basic realm=x"], "Bearer tok"
    )
    other.answers["GET", "/token"] = (200, {}, b'{"token": "tok"}')
    pull(auth={})
    assert other.lines() == ["GET /token?scope=repository%3Ax%3Apull"]
    assert seen(other) == {None}


def test_identity_token_is_posted(registry, other, pull):
    registry.answers[MANIFEST] = want(f'Bearer realm="http://{other.host}/token",service=s', "Bearer tok")
    bodies = []

    def give(handler):
        bodies.append(handler.headers["Content-Type"])
        return 200, {}, b'{"access_token": "tok"}'

    other.answers["POST", "/token"] = give
    pull(auth={"identitytoken": "a-secret"})
    assert bodies == ["application/x-www-form-urlencoded"]
    assert other.lines() == ["POST /token"]


@pytest.mark.parametrize(
    ("challenge", "reason"),
    [
        ('Bearer realm="ftp://x/token"', "whose URL is none"),
        ("Bearer service=x", "whose URL is none"),
        ('Bearer realm="http://me@x/"', "whose URL is none"),
        ("Negotiate", "the ways that it offers are: negotiate"),
        ("", "the ways that it offers are: none that is known"),
    ],
)
def test_other_ways_to_log_in_are_refused(registry, pull, challenge, reason):
    registry.answers[MANIFEST] = (401, {"WWW-Authenticate": challenge}, b"")
    with pytest.raises(OciError, match=reason):
        pull()


def test_password_goes_to_no_token_server_without_tls(registry, pull):
    registry.answers[MANIFEST] = (401, {"WWW-Authenticate": 'Bearer realm="http://tokens.example/t"'}, b"")
    with pytest.raises(OciError, match=r"a token server that does not speak TLS: http://tokens.example/t"):
        pull(plain_http=False)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((401, {}, b""), "does not accept the login data of .*auth.json: its answer is 401"),
        ((500, {}, b""), "gave no token: its answer is 500"),
        ((200, {}, b"{}"), "answered with no token"),
        ((200, {}, b"[]"), "answered with no token"),
        ((200, {}, b'{"token": "a\\r\\nb: c"}'), "answered with no token"),
        ((200, {}, b" " * 300_000), "are the most"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), "gave no token: its answer is 302"),
    ],
)
def test_token_servers_that_fail_are_told(registry, other, pull, answer, reason):
    registry.answers[MANIFEST] = (401, {"WWW-Authenticate": f'Bearer realm="http://{other.host}/token"'}, b"")
    other.answers["GET", "/token"] = answer
    with pytest.raises(OciError, match=reason) as failed:
        pull()
    assert "hunter2" not in str(failed.value)
    assert PASSWORD not in str(failed.value)


def test_login_stays_behind_at_redirects(registry, other, pull):
    registry.answers[MANIFEST] = want("Basic realm=x", f"Basic {PASSWORD}")
    registry.answers[BLOB] = (307, {"Location": f"http://{other.host}/elsewhere?signature=x"}, b"")
    other.answers["GET", "/elsewhere"] = (200, {}, MODULE)
    assert pull().size == len(MODULE)
    assert seen(other) == {None}
    assert seen(registry) == {None, f"Basic {PASSWORD}"}


def test_other_hosts_get_no_login_when_they_ask(registry, other, pull):
    registry.answers[BLOB] = (307, {"Location": f"http://{other.host}/elsewhere"}, b"")
    other.answers["GET", "/elsewhere"] = (401, {"WWW-Authenticate": "Basic realm=x"}, b"")
    with pytest.raises(RegistryRefused):
        pull()
    assert seen(other) == {None}


def test_same_host_at_another_port_is_another(registry, other, pull):
    registry.answers[MANIFEST] = want("Basic realm=x", f"Basic {PASSWORD}")
    registry.answers[BLOB] = (302, {"Location": f"//{other.host}{BLOB[1]}"}, b"")
    other.put_blob(MODULE)
    pull()
    assert seen(other) == {None}


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("", "which is no URL"),
        ("file:///etc/passwd", "which is no URL"),
        ("http://[", "which is no URL"),
        ("http://x:99999/", "which is no URL"),
        ("again", "sends us on more than 5 times"),
    ],
)
def test_redirects_to_nowhere_are_refused(registry, pull, location, reason):
    registry.answers[MANIFEST] = (302, {"Location": location}, b"")
    registry.answers["GET", "/v2/hello/manifests/again"] = (302, {"Location": "again"}, b"")
    with pytest.raises(OciError, match=reason):
        pull()


def serve_tls(registry, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    registry._server.socket = context.wrap_socket(registry._server.socket, server_side=True)


def test_registry_of_this_machine_may_speak_tls(other, tmp_path):
    authority = trustme.CA()
    serve_tls(other, authority)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.put_module("1", other.put_blob(MODULE))
    access = other.access(plain_http=False, ca=tmp_path / "ca.pem")
    assert pull_module(other.refer(), tmp_path / "out.wasm", access).size == len(MODULE)
    with pytest.raises(OciError, match="is not trusted: its certificate was not accepted"):
        pull_module(other.refer(), tmp_path / "out.wasm", other.access(plain_http=False))
    other.answers[MANIFEST] = (302, {"Location": "http://127.0.0.1:9/x?signature=y"}, b"")
    with pytest.raises(OciError, match=r"sends us to http://127.0.0.1:9/x, which does not speak TLS"):
        pull_module(other.refer(), tmp_path / "out.wasm", access)


def test_certificates_are_found_where_docker_looks(other, tmp_path):
    authority = trustme.CA()
    serve_tls(other, authority)
    folder = tmp_path / "etc" / "docker" / "certs.d" / other.host
    folder.mkdir(parents=True)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    other.put_module("1", other.put_blob(MODULE))
    access = other.access(plain_http=False, root=tmp_path)
    assert pull_module(other.refer(), tmp_path / "out.wasm", access).size == len(MODULE)


def test_registry_of_this_machine_may_lack_tls(registry, tmp_path):
    registry.put_module("1", registry.put_blob(MODULE))
    access = registry.access(plain_http=False)
    assert pull_module(registry.refer(), tmp_path / "out.wasm", access).size == len(MODULE)


def test_no_proxy_stands_before_this_machine(registry, pull, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.example:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert pull().size == len(MODULE)


def test_registry_that_is_not_there_is_one_line(registry, tmp_path):
    reference = registry.refer()._replace(host="127.0.0.1:9")
    with pytest.raises(OciError, match=r"^oci://127.0.0.1:9/hello:1: 127.0.0.1:9 does not answer: connection"):
        pull_module(reference, tmp_path / "out.wasm", registry.access())


def test_whole_pull_has_one_time(registry, pull):
    with pytest.raises(OciError, match="it took too long"):
        pull(whole_s=0.0)
