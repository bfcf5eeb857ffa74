"""Damaged requests to every path of a server, put into its app as a web server would."""

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from damaging import damage_bytes, damage_json, damage_msgpack, damage_value, pick_odd
from msgspec import structs
from oracle import Reader

from piecework.http.addresses import is_loopback
from piecework.http.requests import WATCH, make_environ
from piecework.protocol.bodies import BINARY, JSON, MSGPACK
from piecework.server.api.table import ENDPOINTS

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from house import House
from leaves import plant

ROOT = Path(__file__).parents[2]
RENEWED = 3_000
"""After so many requests comes another server, with nothing in it but the usual."""
SAMPLE = ROOT / "samples" / "echo.wasm"
PART = re.compile(r"<(?:(\w+):)?(\w+)>")
TEXTS = ("x", "1", "0", "default", "Finished", "now", "-1", "1e9", "2026-01-01", "%", "a,b", "true", "nan", "../x")
HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("accept", ("*/*", MSGPACK, "text/html", "text/event-stream", ";;q=x,", "a/b;q=1e999")),
    ("range", ("bytes=0-0", "bytes=-5", "bytes=5-", "bytes=0-1,3-4", "bytes=9999999999999999999-", "bytes=,")),
    ("if-none-match", ('"x"', "*", 'W/"', "x,,")),
    ("if-match", ('"1"', "*", '"')),
    ("authorization", ("Bearer x", "Bearer", "Session a.b.c", "Basic eA==", "\xff")),
    ("origin", ("null", "http://127.0.0.1:8000", "https://else.where", "http://[")),
    ("cookie", ("a=b", "piecework=x.y", "=;=;", 'a="\\', "\xff=\xfe")),
    ("content-encoding", ("gzip", "identity", "")),
    ("traceparent", ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00--", "x" * 500)),
    ("last-event-id", ("1", "x", "-1", "9" * 40)),
    ("x-forwarded-for", ("1.2.3.4", "x", ",,")),
    ("accept-language", ("de", "*;q=x")),
    ("te", ("trailers", "x")),
)  # fmt: skip
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="info"\r\n\r\n{"a": 1}\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="d.wasm"\r\n'
    b"Content-Type: application/wasm\r\n\r\n%b\r\n--b--\r\n"
)
CONTENT_TYPES = (
    "multipart/form-data; boundary=b", "multipart/form-data", 'multipart/form-data; boundary="', "text/plain",
    "multipart/form-data; boundary*=utf-8''b", "multipart/form-data; boundary=\xff", JSON, MSGPACK, BINARY, "",
    "application/x-www-form-urlencoded", f"{JSON}; charset=utf-16", "a/b; c*0=d; c*1",
)  # fmt: skip


class Asked(NamedTuple):
    """A request, as a web server found it."""

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Refused(Exception):
    """The server answered with 4xx."""


class Failed(Exception):
    """The server answered with 5xx, or with what is no answer."""


class Way(NamedTuple):
    """A method and path of the server, and sound messages and queries for it."""

    method: str
    path: str
    bodies: list[Any]
    fields: list[str]


class Doors:
    """A server in this process, and damaged requests to each of its paths in turn."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._house = self._open()
        self._ways = list(_find_ways(self._house))

    @property
    def reader(self) -> Reader:
        return Reader("requests", self.make, self.ask, (Refused,))

    def make(self, noise: Random) -> Asked:
        """Return the next damaged request."""
        way = self._ways[noise.randrange(len(self._ways))]
        body, kind = _make_body(noise, way)
        headers = [(b"host", b"127.0.0.1:8000")]
        if body or noise.random() < 0.2:
            said = len(body) if noise.random() < 0.95 else noise.choice((0, len(body) + 1, 10**12, 10**30))
            headers += [(b"content-length", b"%d" % said), (b"content-type", kind.encode("latin-1"))]
        for name, values in noise.sample(HEADERS, noise.choice((0, 0, 1, 2, 5))):
            value = noise.choice(values).encode("latin-1")
            headers.append((name.encode(), _sendable(damage_bytes(noise, value, [value]), 32)))
        path = _make_path(noise, way.path)
        method = way.method if noise.random() < 0.97 else noise.choice(("GET", "POST", "PUT", "HEAD", "TRACE"))
        return Asked(method, path, _make_query(noise, way.fields), headers, body)

    def ask(self, asked: Asked) -> None:
        """Have the app answer a request. Raises Refused or Failed."""
        self._count += 1
        if self._count % RENEWED == 0:
            self._house.close()
            self._house = self._open()
        scope = {
            "type": "http", "http_version": "1.1", "method": asked.method, "path": asked.path.decode("latin-1"),
            "raw_path": asked.path, "query_string": asked.query, "headers": asked.headers,
            "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 5000), "scheme": "http",
        }  # fmt: skip
        environ = make_environ(scope, BytesIO(asked.body), underscores=False)
        environ[WATCH] = lambda leave: leave()  # nobody waits for what would have to wait
        status: list[str] = []
        with only_this_machine():
            pieces = self._house.app(environ, lambda line, _headers, _error=None: status.append(line))
            try:
                for piece in pieces:
                    assert isinstance(piece, bytes)
            finally:
                if close := getattr(pieces, "close", None):
                    close()
        number = int(status[0].split()[0])
        if number >= 500 and not (number in {502, 503, 504} and asked.path.startswith(b"/functions/")):
            raise Failed(f"{asked.method} was answered with {status[0]}")
        if number >= 400:
            raise Refused(status[0])

    def close(self) -> None:
        self._house.close()

    def _open(self) -> House:
        house = House(self._folder / f"server{self._count}")
        codex = house.client.post(
            "/data", data=FORM % SAMPLE.read_bytes(), content_type="multipart/form-data; boundary=b"
        )
        lambda_ = house.new_lambda(codex=str(codex.get_json()["id"]), runtime="wasi")
        house.new_worker("wasi", incarnation="one")
        house.submit(lambda_)
        return house


def _find_ways(house: House) -> Iterator[Way]:
    for each in ENDPOINTS:
        bodies = [leaf.message for leaf in plant(each.body, "1")] if each.body else []
        fields = [field.encode_name for field in structs.fields(each.query)] if each.query else []
        yield Way(each.method, each.path, bodies, fields)
    for rule in house.app.url_map.iter_rules():
        if rule.rule.startswith("/console"):
            for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
                yield Way(method, rule.rule, [], ["job", "state", "tag", "lambda", "cursor", "page", "view", "q"])
    yield Way("GET", "/functions/<string:name>/<text:rest>", [], ["a"])


def _make_path(noise: Random, path: str) -> bytes:
    def fill(_part: re.Match[str]) -> str:
        text = noise.choice((*("1", "2") * 6, *TEXTS, str(pick_odd(noise))[:3_000]))
        return quote(text.encode("utf-8", "replace"), safe=noise.choice(("", "/", "/%:?")))

    filled = PART.sub(fill, path).encode()
    return b"/" + _sendable(damage_bytes(noise, filled, [filled]) if noise.random() < 0.1 else filled).lstrip(b"/")


def _make_query(noise: Random, fields: list[str]) -> bytes:
    chosen = noise.sample(fields, min(len(fields), noise.choice((0, 1, 1, 2, 4))))
    pairs = [(name, noise.choice((*TEXTS, str(pick_odd(noise))[:3_000]))) for name in chosen]
    query = urlencode(pairs * noise.choice((1, 1, 1, 2)), errors="replace").encode()
    return _sendable(damage_bytes(noise, query, [query])) if noise.random() < 0.15 else query


def _make_body(noise: Random, way: Way) -> tuple[bytes, str]:
    """Return a body and its type: damaged messages for those who take some, else forms."""
    if way.bodies:
        sound = noise.choice(way.bodies)
        kind = noise.choice((JSON, JSON, MSGPACK)) if noise.random() < 0.95 else noise.choice(CONTENT_TYPES)
        return (damage_msgpack if kind == MSGPACK else damage_json)(noise, sound), kind
    if way.method == "GET":
        return b"", ""
    if way.path.startswith("/console"):
        fields = damage_value(noise, {"mark": "x", "act": "cancel", "job": "1", "name": "x"})
        pairs = fields.items() if isinstance(fields, dict) else ()
        return urlencode(
            [(key, str(each)[:3_000]) for key, each in pairs], errors="replace"
        ).encode(), CONTENT_TYPES[10]
    content = noise.choice((b"", b"x", SAMPLE.read_bytes(), b"\0asm\x01\0\0\0"))
    form = FORM % content
    kind = CONTENT_TYPES[0] if noise.random() < 0.8 else noise.choice(CONTENT_TYPES)
    return damage_bytes(noise, form, [form]) if noise.random() < 0.7 else form, kind


def _sendable(data: bytes, lowest: int = 33) -> bytes:
    """Return bytes without those that no web server lets through."""
    return bytes(byte for byte in data if byte >= lowest and byte != 0x7F and (lowest < 33 or byte not in b"?#"))


@contextmanager
def only_this_machine() -> Iterator[None]:
    """Have no name looked up, and no address found but this machine's own."""
    known = socket.getaddrinfo

    def find(host: Any, *given: Any, **more: Any) -> Any:
        if not is_loopback(str(host)):
            raise socket.gaierror(socket.EAI_NONAME, "nobody is asked in a drill")
        return known(host, *given, **more)

    socket.getaddrinfo = find
    try:
        yield
    finally:
        socket.getaddrinfo = known
