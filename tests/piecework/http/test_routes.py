"""Who is to blame when the way to a server is barred: a proxy of the environment, or certificates."""

import socket
import ssl

import pytest
import trustme
from raw_server import PONG, RawServer, http

from piecework.client import CertificateRefused, Client, ProxyUnreachable, ServerUnreachable
from piecework.http.routes import CA_VARIABLES

PROXIES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in [*PROXIES, *map(str.upper, PROXIES), *CA_VARIABLES]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
def make_file(tmp_path):
    """Return a function: the name of a file with the certificate of an authority."""

    def make(name, authority):
        path = tmp_path / name
        authority.cert_pem.write_to_path(path)
        return path

    return make


@pytest.fixture
def secure(authority):
    """A server with TLS that answers one ping, if it is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = RawServer(context)
    server.answer(http())
    yield server
    server.close()


@pytest.fixture
def raw():
    server = RawServer()
    yield server
    server.close()


def ping(url, **options):
    with Client(url, attempts=1, **options) as client:
        return client.ping()


# Proxies


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_dead_proxy_is_named_with_its_variable(monkeypatch, variable):
    monkeypatch.setenv(variable, f"http://me:s3cret@{NOWHERE.removeprefix('http://')}")
    with pytest.raises(ProxyUnreachable) as caught:
        ping("http://queue.invalid")
    assert str(caught.value) == (
        f"no answer from http://queue.invalid: the proxy {NOWHERE} ({variable} names it) does not answer: "
        "connection refused"
    )


def test_the_proxy_of_a_scheme_counts_before_that_of_all(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:2")
    monkeypatch.setenv("HTTPS_PROXY", NOWHERE)
    with pytest.raises(ProxyUnreachable, match=r":1 \(HTTPS_PROXY names it\)"):
        ping("https://queue.invalid")


def test_a_proxy_that_hangs_up_is_named(raw, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", raw.url)
    raw.answer(socket.socket.close)
    with pytest.raises(ServerUnreachable, match=rf"through the proxy {raw.url} \(HTTP_PROXY names it\)$"):
        ping("http://queue.invalid")


def test_an_answer_of_the_proxy_itself_is_told_with_its_name(raw, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", raw.url)
    raw.answer(http(b"<p>", "Content-Type: text/html", status="407 Proxy Authentication Required"))
    with pytest.raises(Exception, match=rf"ping, through the proxy {raw.url} .* answered HTTP 407 Proxy Auth"):
        ping("http://queue.invalid")


# Certificates


def test_certificates_that_were_given_count_before_the_environment(secure, authority, make_file, monkeypatch):
    monkeypatch.setenv("PIECEWORK_CA", str(make_file("other.pem", trustme.CA())))
    assert ping(secure.url, ca=make_file("given.pem", authority)) == "pong"


def test_of_two_variables_the_one_for_fewer_programs_counts(secure, authority, make_file, monkeypatch):
    good, other = make_file("good.pem", authority), make_file("other.pem", trustme.CA())
    for place, name in enumerate(CA_VARIABLES[:-1]):
        for later in CA_VARIABLES[place + 1 : -1]:
            monkeypatch.setenv(later, str(other))
        monkeypatch.setenv(name, str(good))
        assert ping(secure.url) == "pong"
        monkeypatch.delenv(name)
        secure.answer(http(PONG))


@pytest.mark.parametrize("name", CA_VARIABLES[:-1])
def test_a_refused_certificate_tells_which_file_was_trusted(secure, make_file, monkeypatch, name):
    path = make_file("other.pem", trustme.CA())
    monkeypatch.setenv(name, str(path))
    with pytest.raises(CertificateRefused, match=rf"trusted are those in {path} \({name}\)$"):
        ping(secure.url)


def test_a_refused_certificate_tells_of_the_file_that_was_given(secure, make_file):
    path = make_file("given.pem", trustme.CA())
    with pytest.raises(CertificateRefused, match=rf"trusted are those in {path} \(--ca\)$"):
        ping(secure.url, ca=path)


def test_a_refused_certificate_tells_that_the_systems_are_trusted(secure):
    with pytest.raises(CertificateRefused, match=r"was not accepted: .*; trusted are the system's$"):
        ping(secure.url)


@pytest.mark.parametrize("name", CA_VARIABLES[:-1])
def test_a_variable_that_names_no_file_is_told_at_once(monkeypatch, name):
    monkeypatch.setenv(name, "/nowhere/ca.pem")
    with pytest.raises(ValueError, match=f"{name} names /nowhere/ca.pem, which cannot be used: No such file"):
        Client("https://127.0.0.1")
