import contextlib
import hashlib
import socket

import pytest
from guest_texts import build
from web_host import WebHost

from piecework.http.answers import Answer
from piecework.worker_agent import downloads
from piecework.worker_agent.downloads import (
    DownloadError,
    DownloadOptions,
    NotCodeError,
    check_download_url,
    download_module,
)

MODULE = build('(module (memory (export "memory") 1) (func (export "_start")))')
DIGEST = hashlib.sha256(MODULE).hexdigest()


@pytest.fixture
def web():
    host = WebHost()
    host.pages["/hello.wasm"] = MODULE
    yield host
    host.close()


@pytest.fixture
def download(web, tmp_path):
    def get(path, checksum=None, **options):
        return download_module(web.url + path, tmp_path / "code.wasm", checksum, DownloadOptions(**options))

    return get


def test_module_is_stored_and_its_digest_told(download, tmp_path):
    assert download("/hello.wasm") == DIGEST
    assert (tmp_path / "code.wasm").read_bytes() == MODULE


def test_digest_that_was_asked_for_is_checked(download):
    assert download("/hello.wasm", DIGEST) == DIGEST
    with pytest.raises(NotCodeError, match=r"has the SHA-256 [0-9a-f]{64}, not 000"):
        download("/hello.wasm", "0" * 64)


def test_status_other_than_200_is_told(download):
    with pytest.raises(DownloadError, match=r"/missing\.wasm cannot be downloaded: the answer is 404 Not Found"):
        download("/missing.wasm")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!DOCTYPE html><html>Sign in</html>", "an HTML page"),
        (b"\x7fELF" + bytes(40), "ELF"),
        (b"\0as", "it has 3 bytes"),
        (b"", "it has 0 bytes"),
        (MODULE[:-3], "cannot run here"),
        (build('(module (func (export "other")))'), "no runtime recognises the module"),
    ],
)
def test_what_is_no_module_is_refused_with_the_reason(web, download, body, reason):
    web.pages["/x.wasm"] = body
    with pytest.raises(NotCodeError, match=reason):
        download("/x.wasm")


def test_html_page_is_refused_before_it_is_read_to_its_end(web, download):
    def send_forever(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"<html>" + bytes(60_000))

    web.pages["/page"] = send_forever
    with pytest.raises(NotCodeError, match="an HTML page"):
        download("/page")


def test_size_is_capped_by_what_is_announced(web, download):
    web.pages["/big.wasm"] = (200, {"Content-Length": "1001"}, MODULE)
    with pytest.raises(NotCodeError, match="more than 1000 bytes"):
        download("/big.wasm", size_max_bytes=1000)


def test_size_is_capped_by_what_comes(web, download):
    def send(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(MODULE + bytes(2000))

    web.pages["/big.wasm"] = send
    with pytest.raises(NotCodeError, match="more than 1000 bytes"):
        download("/big.wasm", size_max_bytes=1000)


def test_redirects_are_followed(web, download):
    web.pages["/first"] = (302, {"Location": "/second"}, b"")
    web.pages["/second"] = (301, {"Location": f"{web.url}/hello.wasm"}, b"")
    assert download("/first") == DIGEST


def test_redirects_have_an_end(web, download):
    web.pages["/round"] = (302, {"Location": "/round"}, b"")
    with pytest.raises(DownloadError, match="more than 5 redirects"):
        download("/round")
    assert len(web.requests) == 6


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://x.test/a", "http://", "http://u:p@127.0.0.1/x", ""]
)
def test_redirects_to_other_places_are_refused(web, download, target):
    web.pages["/first"] = (302, {"Location": target}, b"")
    with pytest.raises(DownloadError, match="redirect"):
        download("/first")


def test_redirect_from_https_to_http_is_refused():
    answer = Answer()
    answer.feed(b"HTTP/1.1 302 Found\r\nLocation: http://a.test/x\r\nContent-Length: 0\r\n\r\n")
    assert downloads._find_next("http://a.test/y", answer) == "http://a.test/x"
    with pytest.raises(DownloadError, match="not encrypted"):
        downloads._find_next("https://a.test/y", answer)


def test_redirect_that_is_no_url_is_refused():
    answer = Answer()
    answer.feed(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(DownloadError, match="redirects to"):
        downloads._find_next("http://a.test/y", answer)


@pytest.mark.parametrize(
    "url", ["", "hola", "file:///etc/passwd", "http://", "http://h:x/a", "http://u:p@h/a", "http://["]
)
def test_only_web_urls_are_urls_of_modules(url):
    with pytest.raises(DownloadError, match="must begin with http"):
        check_download_url(url)


def test_token_goes_to_its_server_only(web, download):
    other = WebHost()
    other.pages["/hello.wasm"] = MODULE
    web.pages["/first"] = (302, {"Location": f"{other.url}/hello.wasm"}, b"")
    try:
        download("/first", find_token=lambda url: "secret" if url.startswith(web.url) else None)
    finally:
        other.close()
    assert web.requests[0][1]["Authorization"] == "Bearer secret"
    assert "Authorization" not in other.requests[0][1]


def test_path_and_query_arrive_as_they_were_written(web, download):
    web.pages["/a%20b/x.wasm?tag=1%2F2&v="] = MODULE
    assert download("/a%20b/x.wasm?tag=1%2F2&v=#part") == DIGEST


def test_slow_server_is_given_up(web, download):
    times = iter([0.0, 0.0, 400.0, 400.0])

    def send(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(MODULE[:8])
        handler.wfile.flush()
        handler.rfile.read(1)

    web.pages["/slow.wasm"] = send
    with pytest.raises(DownloadError, match="it took longer than 300 s"):
        download("/slow.wasm", clock=lambda: next(times))


def test_server_that_says_nothing_is_given_up(web, download):
    web.pages["/mute.wasm"] = lambda handler: handler.rfile.read(1)
    with pytest.raises(DownloadError, match="took too long"):
        download("/mute.wasm", piece_s=0.05)


def test_server_that_is_not_there_is_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x.wasm"
        with pytest.raises(DownloadError, match="cannot be downloaded: connection refused"):
            download_module(url, tmp_path / "x")
