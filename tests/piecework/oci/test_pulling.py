"""What a registry may answer to whom pulls: modules in all layouts, and everything else."""

import base64
import gzip
import io
import json
import tarfile

import pytest
from fake_registry import sha256
from guest_texts import build
from hypothesis import HealthCheck, given, settings, strategies

from piecework.oci.archives import unpack_module
from piecework.oci.errors import Damaged, OciError
from piecework.oci.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MANIFEST_MAX_BYTES,
    MODULE_MAX_BYTES,
    OCI_INDEX,
    OCI_MANIFEST,
    read_manifest,
)
from piecework.oci.pulling import fetched, pull_module

MODULE = build('(module (memory (export "memory") 1) (func (export "_start")))')
OLD_LAYER = "application/vnd.wasm.content.layer.v1+wasm"
TAR = "application/vnd.oci.image.layer.v1.tar"
EVIL = {"Content-Type": OCI_MANIFEST}


def pack(**files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


@pytest.fixture
def pull(registry, tmp_path):
    def pull(rest="hello:1", **options):
        return pull_module(registry.refer(rest), tmp_path / "out.wasm", registry.access(**options))

    return pull


@pytest.fixture
def refused(pull, tmp_path):
    """Pull what is refused; return the message."""

    def refused(rest="hello:1", kind=OciError):
        with pytest.raises(kind) as failed:
            pull(rest)
        assert list(tmp_path.iterdir()) == [], "nothing is left half written"
        return str(failed.value)

    return refused


def test_module_is_written_and_pinned(registry, pull, tmp_path):
    manifest = registry.put_module("1", registry.put_blob(MODULE))
    come = []
    pulled = pull_module(
        registry.refer(), tmp_path / "out.wasm", registry.access(), lambda *sizes: come.append(sizes)
    )
    assert str(pulled.reference) == f"oci://{registry.host}/hello:1@{manifest['digest']}"
    assert (f"sha256:{pulled.digest}", pulled.size) == (sha256(MODULE), len(MODULE))
    assert [each.name for each in tmp_path.iterdir()] == ["out.wasm"]
    assert (tmp_path / "out.wasm").read_bytes() == MODULE
    assert come[-1] == (len(MODULE), len(MODULE))
    assert registry.lines() == [
        "GET /v2/hello/manifests/1",
        f"GET /v2/hello/blobs/{sha256(MODULE)}",
    ]


def test_fetched_file_is_gone_after_the_block(registry):
    registry.put_module("1", registry.put_blob(MODULE))
    with fetched(registry.refer(), registry.access()) as (path, _):
        assert (path.name, path.read_bytes()) == ("hello.wasm", MODULE)
    assert not path.parent.exists()


@pytest.mark.parametrize(
    "media_type",
    ["application/wasm", OLD_LAYER, "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"],
)
def test_older_layouts_are_read(registry, pull, media_type):
    other = registry.put_blob(b"{}", "application/vnd.fermyon.spin.application.v1+config")
    registry.put_module("1", registry.put_blob(MODULE, media_type), other)
    assert pull().size == len(MODULE)


@pytest.mark.parametrize("is_packed", [False, True])
def test_one_module_in_an_archive_is_taken(registry, pull, tmp_path, is_packed):
    archive = pack(README_md=b"read me", plugin_wasm=MODULE)
    archive, media_type = (gzip.compress(archive), f"{TAR}+gzip") if is_packed else (archive, TAR)
    registry.put_module("1", registry.put_blob(archive, media_type))
    assert f"sha256:{pull().digest}" == sha256(MODULE)
    assert (tmp_path / "out.wasm").read_bytes() == MODULE
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (pack(a_txt=MODULE), "has no .wasm file"),
        (
            pack(a_wasm=MODULE, b_wasm=MODULE),
            "there are 2 modules in its layer, and one was expected: a.wasm, b.wasm",
        ),
        (pack(a_wasm=b"<html>"), "says that it is a module, and is an HTML page"),
        (pack(a_wasm=MODULE * 100)[:2000], "is damaged"),
        (b"x" * 1024, "is damaged"),
        (b"", "is damaged"),
    ],
)
def test_other_archives_are_refused(registry, refused, archive, reason):
    registry.put_module("1", registry.put_blob(archive, TAR))
    assert reason in refused()


def test_damaged_gzip_is_refused(registry, refused):
    packed = gzip.compress(pack(a_wasm=MODULE))
    for content in (packed[:-20], b"x" * 100, packed[:30] + b"x" * 30 + packed[60:]):
        registry.put_module("1", registry.put_blob(content, f"{TAR}+gzip"))
        assert "is damaged" in refused()


def test_tag_of_an_index_leads_to_wasm(registry, pull):
    module = registry.put_module("one", registry.put_blob(MODULE))
    image = {**module, "platform": {"os": "linux", "architecture": "amd64"}}
    first = {**module, "digest": "sha256:" + "0" * 64, "platform": {"os": "wasip1", "architecture": "wasm"}}
    registry.put_index("1", image, first, {**module, "platform": {"os": "wasip2", "architecture": "wasm"}})
    assert f"sha256:{pull().reference.digest}" == module["digest"]
    registry.put_index("2", module)
    assert f"sha256:{pull('hello:2').reference.digest}" == module["digest"]


def test_index_without_one_for_wasm_is_refused(registry, refused):
    module = registry.put_module("one", registry.put_blob(MODULE))
    linux, wasi = {"os": "linux", "architecture": "arm64"}, {"os": "wasi", "architecture": "wasm"}
    registry.put_index("1", {**module, "platform": linux}, {**module, "platform": linux})
    assert "there is nothing for wasm, but for linux/arm64: it is an image of containers" in refused()
    registry.put_index("1", {**module, "platform": wasi}, {**module, "platform": wasi})
    assert "there are several modules: name one by its digest, wasi/wasm sha256:" in refused()
    registry.put_index("1", registry.put_index("inner", module))
    assert "there is nothing for wasm" in refused()
    registry.put_index("1")
    assert "there is nothing for wasm, but for none" in refused()


def test_index_in_disguise_is_refused(registry, refused):
    inner = registry.put_index("inner")
    registry.put_index("1", {**inner, "mediaType": OCI_MANIFEST})
    assert "an index in an index" in refused()


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([], "there is no module: its layers are none"),
        (["application/vnd.cncf.helm.chart.content.v1.tar+gzip"], "its layers are application/vnd.cncf.helm"),
        (["application/wasm", "application/wasm"], "there are 2 modules, and one was expected: sha256:"),
    ],
)
def test_other_artifacts_are_named(registry, refused, layers, reason):
    registry.put_module("1", *(registry.put_blob(MODULE, each) for each in layers))
    assert reason in refused()


def test_other_bytes_than_named_are_refused(registry, refused, pull):
    manifest = registry.put_module("1", registry.put_blob(MODULE))
    registry.manifests[manifest["digest"]] = (OCI_MANIFEST, registry.manifests["1"][1] + b" ")
    assert "the digest of its manifest is" in refused(f"hello@{manifest['digest']}", Damaged)
    told = {"Docker-Content-Digest": manifest["digest"], "Content-Type": OCI_MANIFEST}
    registry.answers["GET", "/v2/hello/manifests/1"] = (200, told, registry.manifests["1"][1] + b" ")
    assert "and the registry says that it is" in refused(kind=Damaged)
    registry.answers.clear()
    registry.blobs[sha256(MODULE)] = MODULE[:-1] + b"?"
    assert "the digest of its layer is" in refused(kind=Damaged)
    registry.blobs[sha256(MODULE)] = MODULE[:-1]
    assert f"its layer has {len(MODULE) - 1} bytes, and should have {len(MODULE)}" in refused(kind=Damaged)
    registry.blobs[sha256(MODULE)] = MODULE + b"?"
    assert f"and {len(MODULE)} are the most" in refused(kind=Damaged)
    del registry.blobs[sha256(MODULE)]
    assert "it is not there" in refused()
    registry.blobs[sha256(MODULE)] = MODULE
    assert pull().size == len(MODULE)


def test_file_that_was_there_stays_when_it_fails(registry, tmp_path):
    registry.put_module("1", registry.put_blob(MODULE))
    registry.blobs[sha256(MODULE)] = MODULE[:-1] + b"?"
    (tmp_path / "out.wasm").write_text("before")
    with pytest.raises(Damaged):
        pull_module(registry.refer(), tmp_path / "out.wasm", registry.access())
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("out.wasm", "before")]


def test_manifest_without_end_is_given_up(registry, refused):
    sent = []

    def send_forever(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 65536)
                sent.append(65536)
        except OSError:
            handler.close_connection = True

    registry.answers["GET", "/v2/hello/manifests/1"] = lambda handler: send_forever(handler) or (500, {}, b"")
    assert f"its manifest has more than {MANIFEST_MAX_BYTES} bytes" in refused(kind=Damaged)
    told = {"Content-Length": str(MANIFEST_MAX_BYTES + 1)}
    registry.answers["GET", "/v2/hello/manifests/1"] = (200, told, b"")
    assert f"its manifest has {MANIFEST_MAX_BYTES + 1} bytes" in refused(kind=Damaged)


def test_layer_that_is_too_large_is_not_asked_for(registry, refused):
    for size in (MODULE_MAX_BYTES + 1, -1):
        registry.put_module("1", {**registry.put_blob(MODULE), "size": size})
        assert "its layer has" in refused()
    assert [line for line in registry.lines() if "/blobs/" in line] == []


@pytest.mark.parametrize(
    ("content", "told", "reason"),
    [
        (b"<html>", "text/html", "no manifest of a module: text/html"),
        (b"{", OCI_MANIFEST, "the manifest is damaged"),
        (b'{"schemaVersion": 1, "layers": []}', OCI_MANIFEST, "no manifest of a module"),
        (b'{"schemaVersion": 2, "layers": [], "manifests": []}', OCI_MANIFEST, "it is not what"),
        (b'{"schemaVersion": 2, "layers": []}', OCI_INDEX, "it is not what"),
        (b'{"schemaVersion": 2, "manifests": []}', DOCKER_MANIFEST, "it is not what"),
        (b'{"schemaVersion": 2}', OCI_MANIFEST, "it is not what"),
        (
            json.dumps({"schemaVersion": 2, "mediaType": DOCKER_LIST, "layers": []}).encode(),
            OCI_MANIFEST,
            "the manifest says that it is application/vnd.docker",
        ),
        (b"[" * 100_000, OCI_MANIFEST, "the manifest is damaged"),
        (b'{"schemaVersion": 2, "layers": [{"digest": "md5:1", "size": 1}]}', "", None),
    ],
)
def test_manifests_of_other_forms_are_refused(content, told, reason):
    if reason is None:
        with pytest.raises(Damaged, match="is not sha256:"):
            _ = read_manifest(content, told).layers[0].sha256
        return
    with pytest.raises(OciError, match=reason):
        read_manifest(content, told)


JSON = strategies.recursive(
    strategies.none() | strategies.integers() | strategies.text(max_size=10) | strategies.just(OCI_MANIFEST),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(
            strategies.sampled_from(
                ["schemaVersion", "layers", "manifests", "digest", "size", "platform", "mediaType"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(JSON | strategies.binary(max_size=100), strategies.sampled_from([OCI_MANIFEST, OCI_INDEX, "", "text/html"]))
def test_any_answer_is_no_more_than_refused(registry, tmp_path, answer, told):
    content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    registry.manifests["1"] = (told, content)
    with pytest.raises(OciError, match=registry.host):
        pull_module(registry.refer(), tmp_path / "out.wasm", registry.access())
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(strategies.data())
def test_damaged_archives_are_no_more_than_refused(tmp_path, data):
    whole = pack(a_wasm=MODULE, b_txt=b"x" * 600)
    at = data.draw(strategies.integers(0, len(whole) - 1))
    path, out = tmp_path / "archive", tmp_path / "out"
    out.unlink(missing_ok=True)
    path.write_bytes(whole[:at] + data.draw(strategies.binary(min_size=1, max_size=20)) + whole[at + 1 :])
    is_refused = False
    try:
        unpack_module(path, out, "")
    except OciError:
        is_refused = True
    assert is_refused or 0 < out.stat().st_size < len(whole)


def test_small_archive_that_unpacks_to_much_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("piecework.oci.archives.OVERHEAD_BYTES", 100_000)
    path = tmp_path / "archive"
    path.write_bytes(gzip.compress(pack(a_txt=bytes(200_000), b_wasm=MODULE)))
    with pytest.raises(Damaged, match="unpacks to more than a module can have"):
        unpack_module(path, tmp_path / "out", "gz", 10_000)
    path.write_bytes(pack(b_wasm=bytes(10_001)))
    with pytest.raises(Damaged, match="the module has 10001 bytes, and 10000 are the most"):
        unpack_module(path, tmp_path / "out", "", 10_000)


def test_encoded_answers_are_refused(registry, refused):
    registry.answers["GET", "/v2/hello/manifests/1"] = (200, {"Content-Encoding": "gzip"}, b"x")
    assert "Content-Encoding: gzip, which nobody asked for" in refused()


def test_words_of_a_registry_are_one_line(registry, refused):
    fault = {"errors": [{"code": "DENIED", "message": "go\naway" * 1000}]}
    registry.answers["GET", "/v2/hello/manifests/1"] = (418, {}, json.dumps(fault).encode())
    message = refused()
    assert "(DENIED go awaygo away" in message
    assert "\n" not in message
    assert len(message) < 600
    registry.answers["GET", "/v2/hello/manifests/1"] = (500, {}, b"<html>")
    assert refused().endswith("the registry answers 500")


def test_busy_registry_is_asked_again(registry, pull):
    registry.put_module("1", registry.put_blob(MODULE))
    paused, answers = [], iter([(429, {"Retry-After": "7"}, b""), (503, {}, b""), None])
    registry.answers["GET", "/v2/hello/manifests/1"] = lambda _: next(answers)
    assert pull(pause=paused.append).size == len(MODULE)
    assert paused == [7.0, 2.0]


def test_login_is_never_in_a_message(registry, tmp_path):
    given = base64.b64encode(b"me:hunter2").decode()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {registry.host: {"auth": given}}}))
    registry.answers["GET", "/v2/hello/manifests/1"] = (401, {"WWW-Authenticate": "Basic realm=x"}, b"")
    access = registry.access(environ={"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")})
    with pytest.raises(OciError, match="is not allowed") as failed:
        pull_module(registry.refer(), tmp_path / "out.wasm", access)
    assert not {"hunter2", given} & set(str(failed.value).split())
    assert [headers.get("Authorization") for _, _, headers in registry.requests] == [None, f"Basic {given}"]
