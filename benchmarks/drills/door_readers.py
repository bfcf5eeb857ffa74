"""Everything beside the server's paths that reads what strangers wrote, with sound inputs and its own refusals."""

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from damaging import damage_bytes, damage_json, damage_msgpack
from mutants import find_parents
from mutations import mutate
from oracle import Reader

from piecework.cli.local.config import CLIENT
from piecework.configuration.checking import check_files
from piecework.configuration.files import read_file
from piecework.configuration.places import ConfigError
from piecework.http import urls
from piecework.http.answers import Answer, Broken, NotHttp
from piecework.http.exchange import EnvelopeError, Request, read_request, read_response, write_request
from piecework.modules import CHECKS, ModuleError, check_code, inspect_code
from piecework.oci.archives import unpack_module
from piecework.oci.challenges import read_challenges
from piecework.oci.errors import OciError
from piecework.oci.manifests import choose_layer, choose_manifest, read_manifest
from piecework.oci.references import Reference
from piecework.protocol.bodies import JSON, MSGPACK, BodyDecodeError, MessageError, decode
from piecework.receipts import Bundle, ReceiptError, read_envelope, read_keys, read_receipt, verify_receipt
from piecework.receipts.journals import (
    End,
    Head,
    JournalEntry,
    JournalError,
    JournalReader,
    write_frame,
)
from piecework.receipts.recorded_calls import RecordedCall
from piecework.server import configuration as of_server
from piecework.server.errors import InvalidRequest
from piecework.server.forwarding.messages import CallRefused
from piecework.server.forwarding.paths import read_place
from piecework.server.services.functions.names import check_url
from piecework.server.services.queue.schedules.timings import read_cron
from piecework.server.services.queue.webhooks.posting import read_url
from piecework.server.web.ranges import find_parts
from piecework.text.durations import parse_duration, parse_retention
from piecework.worker_agent.config import configuration as of_agent
from piecework.worker_agent.downloads import DownloadError, check_download_url
from piecework.worker_agent.runtimes.capsule import envelopes
from piecework.worker_agent.runtimes.capsule.generations import GENERATIONS
from piecework.worker_agent.runtimes.funless import find_problem

ROOT = Path(__file__).parents[2]
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json", "application/json", "", "x;y",
)  # fmt: skip
DIGEST = "sha256:" + "a" * 64
DESCRIPTOR = {"mediaType": "application/vnd.wasm.content.layer.v1+wasm", "digest": DIGEST, "size": 8}
MANIFESTS: tuple[Any, ...] = (
    {"schemaVersion": 2, "config": DESCRIPTOR, "layers": [DESCRIPTOR], "annotations": {"a": "b"}},
    {"schemaVersion": 2, "manifests": [DESCRIPTOR | {"platform": {"architecture": "wasm", "os": "wasip1"}}]},
)
ENVELOPES: tuple[Any, ...] = (
    {"method": "POST", "uri": "/a?b", "headers": {"A": "b", "C": ["d", "e"]}, "body": "hello"},
    {"status": 200, "headers": {"A": "b", "Set-Cookie": ["a=b", "c=d"]}, "base64": "aGVsbG8="},
    {"Body": "x", "JSONBody": {"a": 1}, "TextBody": "aGVsbG8=", "URI": "http://a/", "Method": "GET"},
    {"JSONBody": {}, "TextBody": "", "Headers": {"a": ["b"]}, "StatusCode": 200},
)
URLS = (
    "http://127.0.0.1:8000", "https://example.org/a/b?c=d#e", "http://[::1]:80/", "https://user:word@host/", "//",
    "http://münchen.example:99999", "http://[::ffff:1.2.3.4%25eth0]", "https://xn--nxasmq6b.example", "file:///etc",
    f"http://{'a' * 64}.example", "http://a..b/", "http://1.2.3.4.:1",
)  # fmt: skip
TEXTS = {
    "durations": ("90", "500ms", "1h30m", "2d", ".5s", "1e3", "never", "1d 2h 3m 4s 5ms", "٣m", "1_0"),
    "cron lines": (
        "* * * * *", "*/5 0-6,12 1,15 jan-mar mon-fri", "@daily", "0 0 29 2 *", "5/10 */3 L * 7", "0 12 * * 1#2",
        "59 23 31 12 0", "0 0 1-31/40 * *", "00 000 1 1 *",
    ),
    "ranges": ("bytes=0-0", "bytes=-5", "bytes=5-", "bytes=0-1, 3-4", "bytes=" + "0-0," * 200, "bytes=1-0", "="),
    "references": (
        "localhost:5000/a/b:tag", f"ghcr.io/a/b@{DIGEST}", "oci://a/b", "a", "user:word@host/a", "[::1]:5000/a:b",
        "A/B",
    ),
    "logins": (
        'Bearer realm="https://a/token",service="b",scope="c:d:pull"', 'Basic realm="a\\"b", charset=UTF-8',
        "a b, c",
    ),
    "paths of calls": ("hello/a/b", "hello/%2e%2e/x", "/%00", "hello//..\\", "%ff", "a" * 300),
}  # fmt: skip
HEADS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.0 206 P\r\nContent-Range: bytes 0-1/9\r\nConnection: close\r\n\r\nab",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\0\1",
)
NOON_MS = 1_780_000_000_000

Make = Callable[[Random], Any]


def list_readers(folder: Path, samples: Sequence[Any]) -> list[Reader]:
    """Return all readers; ``samples`` are pairs of a type of messages and a sound message of it."""
    sections = [CLIENT, of_server.SECTION, of_agent.SECTION]
    refused = (BodyDecodeError, MessageError)
    return [
        Reader("JSON messages", _typed(samples, damage_json), lambda it: decode(it[1], it[0], JSON), refused),
        Reader("MessagePack messages", _typed(samples, damage_msgpack), _decode_packed, refused),
        Reader("modules and components", _modules(), _read_module),
        Reader("envelopes", _documents(ENVELOPES), _read_envelope),
        Reader("manifests", _manifests(), _read_manifest, (OciError,)),
        Reader("archives", _archives(), lambda it: _read_archive(folder, it), (OciError,)),
        Reader(
            "configuration", _bytes(_settings()), lambda it: _read_settings(folder, it, sections), (ConfigError,)
        ),
        Reader("HTTP answers", _bytes(HEADS), _read_answer, (NotHttp, Broken)),
        Reader("receipts", _bytes([_sample("receipt_reply")]), _read_receipt, (ReceiptError,)),
        Reader("keys of receipts", _bytes([_sample("signing_key_list")]), _read_keys, (ReceiptError,)),
        Reader("bundles", _bytes([_bundle()]), lambda it: _read_bundle(folder, it), (ReceiptError,)),
        Reader("recorded calls", _bytes([_recorded_call()]), _read_recorded_call, (ReceiptError,)),
        Reader("journals", _bytes(_journals()), _read_journal, (JournalError,)),
        Reader("URLs", _texts(URLS), _read_url),
        Reader("durations", _texts(TEXTS["durations"]), _read_duration),
        Reader("cron lines", _texts(TEXTS["cron lines"]), _read_line, (InvalidRequest,)),
        Reader("ranges", _texts(TEXTS["ranges"]), lambda it: find_parts(it, 1000)),
        Reader("references", _texts(TEXTS["references"]), Reference.parse, (ValueError,)),
        Reader("logins of registries", _texts(TEXTS["logins"]), read_challenges),
        Reader("paths of calls", _texts(TEXTS["paths of calls"]), read_place, (CallRefused,)),
    ]


def _sample(name: str) -> bytes:
    return (ROOT / "samples" / "wire" / f"{name}.json").read_bytes()


def _bundle() -> bytes:
    """Return a bundle without parts: its receipt and its keys are read, and then one is missing."""
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as file:
        file.writestr("receipt.json", _sample("receipt_reply"))
        file.writestr("keys.json", _sample("signing_key_list"))
    return kept.getvalue()


def _read_receipt(data: bytes) -> None:
    envelope = read_envelope(data)
    read_receipt(envelope)
    verify_receipt(envelope, read_keys(_sample("signing_key_list"), "the keys"))


def _read_keys(data: bytes) -> None:
    _ = read_keys(data, "the keys").list_keys()


def _read_bundle(folder: Path, data: bytes) -> None:
    (folder / "bundle").write_bytes(data)
    with Bundle(folder / "bundle") as bundle:
        bundle.check_parts()


def _recorded_call() -> bytes:
    """Return a recorded call that failed: its answer is not there."""
    given, args = write_request(Request("POST", "/a?b=c", (("Accept", "*/*"),), b"body")), b"[]"
    names = ("module", "args", "env", "seed", "journal")
    limits = ("memory_bytes", "stack_bytes", "output_bytes", "files_bytes", "files_count", "open_files")
    subject = {name: hashlib.sha256(args).hexdigest() for name in names} | {
        "runtime": "wasi", "mode": "http", "profile": "record", "served": True, "limits": dict.fromkeys(limits, 1),
        "input": hashlib.sha256(given).hexdigest(),
    }  # fmt: skip
    result = {"state": "Fail_Execution", "exit_code": 0, "error_kind": "trap", "comparable": True}
    claim = {"subject": subject, "result": result}
    record = {"version": 1, "at": 5.0, "took_s": 0.5, "claim": claim, "parts": [given, args]}
    return msgspec.msgpack.encode(record)


def _read_recorded_call(data: bytes) -> None:
    call = RecordedCall.read_from(data)
    _ = call.request, call.response


def _journals() -> list[bytes]:
    """Return sound journals: of a run that asked for nothing, and of one that was refused and cut."""
    entries = (
        JournalEntry("clock", b"REALTIME", b"1780000000000000000"),
        JournalEntry("http", b"GET http://a/", b"\0" * 300),
        JournalEntry("redis", b"get k", b"not here", "denied"),
    )
    whole = (Head(), *entries, End(len(entries), cut=True))
    return [write_frame(Head()) + write_frame(End(0)), b"".join(map(write_frame, whole))]


def _read_journal(data: bytes) -> None:
    for _ in JournalReader(data).read():
        pass


def _typed(samples: Sequence[Any], damage: Callable[[Random, Any], bytes]) -> Make:
    def make(noise: Random) -> Any:
        type_, sound = noise.choice(samples)
        return type_, damage(noise, sound)

    return make


def _documents(sound: Sequence[Any]) -> Make:
    return lambda noise: damage_json(noise, noise.choice(sound))


def _bytes(sound: Sequence[bytes]) -> Make:
    return lambda noise: damage_bytes(noise, noise.choice(sound), sound)


def _texts(sound: Sequence[str]) -> Make:
    spelled = [each.encode() for each in sound]
    return lambda noise: damage_bytes(noise, noise.choice(spelled), spelled).decode(errors="replace")


def _modules() -> Make:
    parents = find_parents()

    def make(noise: Random) -> bytes:
        return mutate(noise, noise.choice(parents).code, noise.choice(parents).code)

    return make


def _manifests() -> Make:
    return lambda noise: (damage_json(noise, noise.choice(MANIFESTS)), noise.choice(MANIFEST_TYPES))


def _archives() -> Make:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(ROOT / "samples" / "echo.wasm", "plugin.wasm")
        tar.add(ROOT / "LICENSE", "é" * 120)
    plain = kept.getvalue()
    packed = gzip.compress(plain, mtime=0)
    return lambda noise: (
        damage_bytes(noise, plain, [plain]) if noise.random() < 0.5 else damage_bytes(noise, packed, [packed]),
        noise.choice(("", "gz")),
    )


def _settings() -> list[bytes]:
    return [
        (ROOT / "piecework" / "templates" / "piecework.toml").read_bytes().replace(b"\n# ", b"\n"),
        b'[client]\nurl = "http://127.0.0.1:8000"\ntoken = "x"\n[profiles.a]\nurl = ["http://a", "http://b"]\n',
        b'[server]\nport = 8000\nretain_audit = "90d"\ndata = "d"\n[agent]\nslots = 2\ntags = ["a", "+b"]\n',
    ]


def _decode_packed(given: Any) -> object:
    return decode(given[1], given[0], MSGPACK)


def _read_module(code: bytes) -> None:
    for read in (inspect_code, *(lambda it, name=name: check_code(name, it) for name in CHECKS)):
        try:
            read(code)
        except ModuleError:
            continue


def _read_envelope(text: bytes) -> None:
    """Read a text as each side of each way to carry requests; what one refuses another may take."""
    for read in (read_request, read_response, envelopes.read_outgoing):
        try:
            read(text)
        except (EnvelopeError, envelopes.BadRequestError):
            continue
    find_problem(text)
    for number, generation in GENERATIONS.items():
        for prefix in (b"", b"S", b"F", b"[BODY]", b"[ERR][500]:"):
            for read_result in (envelopes.read_text, envelopes.read_response):
                try:
                    read_result(prefix + text, generation)
                except (envelopes.GuestError, envelopes.BadAnswerError):
                    continue
        try:
            request = Request("POST", "/", (("a", "b"),), text)
            envelopes.join_request(request, generation) if number == 3 else envelopes.put_request(
                request, generation
            )
        except envelopes.BadRequestError:
            continue


def _read_manifest(given: tuple[bytes, str]) -> None:
    found = read_manifest(*given)
    chosen = choose_manifest(found) if found.manifests is not None else choose_layer(found)
    _ = str(chosen), chosen.sha256


def _read_archive(folder: Path, given: tuple[bytes, str]) -> None:
    archive = folder / "archive"
    archive.write_bytes(given[0])
    unpack_module(archive, folder / "module", given[1])


def _read_settings(folder: Path, text: bytes, sections: Sequence[Any]) -> None:
    path = folder / "piecework.toml"
    path.write_bytes(text)
    check_files([read_file(path)], sections)


def _read_answer(data: bytes) -> None:
    answer, middle = Answer(), len(data) // 2
    for piece in (data[:middle], data[middle:]):
        if piece and not answer.complete:
            answer.feed(piece)
    if not answer.complete:
        answer.end()


def _read_url(text: str) -> None:
    for read, refusal in (
        (urls.check_url, ValueError),
        (check_url, InvalidRequest),
        (read_url, InvalidRequest),
        (check_download_url, DownloadError),
    ):
        try:
            read(text)
        except refusal:
            continue


def _read_duration(text: str) -> None:
    for read in (parse_duration, parse_retention):
        try:
            read(text)
        except ValueError:
            continue


def _read_line(line: str) -> None:
    read_cron(line, "Europe/Berlin").next_after(NOON_MS)


def find_samples(types: dict[str, type], wire: Path) -> list[tuple[type, Any]]:
    """Return the golden messages of these types, by their names in snake case."""
    named = [(types.get(path.name.partition(".")[0]), path) for path in sorted(wire.glob("*.json"))]
    return [(type_, json.loads(path.read_text())) for type_, path in named if type_]
