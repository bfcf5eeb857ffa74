"""Commands that take ``oci://…`` where they take a file or a module."""

import hashlib
import json
from pathlib import Path

import pytest
from fake_registry import FakeRegistry, sha256
from msgspec import UNSET

SAMPLES = Path(__file__).parents[3] / "samples"
ECHO = SAMPLES / "echo.wasm"
CODE = ECHO.read_bytes()


@pytest.fixture
def registry(monkeypatch, tmp_path):
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    (tmp_path / "auth.json").write_text("{}")
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture
def pinned(registry):
    """The module of a registry, as it is named with its digest."""
    stored = registry.put_module("1", registry.put_blob(CODE))
    return f"oci://{registry.host}/team/echo:1@{stored['digest']}"


@pytest.fixture
def tagged(pinned):
    return pinned.partition("@")[0]


@pytest.mark.slow
def test_module_is_pushed_and_pulled(run, registry, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    target = f"oci://{registry.host}/team/echo:1"
    pushed = run("module", "push", ECHO, target, "--info", "echoes", "--annotation", "a=b", "--plain-http").out
    annotations = json.loads(registry.manifests["1"][1])["annotations"]
    assert (annotations["org.opencontainers.image.description"], annotations["a"]) == ("echoes", "b")
    assert annotations["org.opencontainers.image.created"] == "2001-09-09T01:46:40Z"
    assert run("module", "pull", target, "-o", tmp_path / "x.wasm").out == f"{tmp_path}/x.wasm: {pushed}"
    assert (tmp_path / "x.wasm").read_bytes() == CODE
    assert run("module", "pull", target, "-o", "-").out_bytes == CODE
    monkeypatch.chdir(tmp_path)
    found = run("module", "pull", pushed.strip(), "--json").document
    assert found == {
        "reference": pushed.strip(),
        "digest": hashlib.sha256(CODE).hexdigest(),
        "size": len(CODE),
        "file": "echo.wasm",
    }


@pytest.mark.slow
def test_file_pushed_again_has_the_same_digest(run, registry):
    target = f"oci://{registry.host}/team/echo:1"
    first = run("module", "push", ECHO, target, "--json").document
    assert run("module", "push", ECHO, target, "--json").document == first
    assert run("module", "push", "-", target, "--json", given=CODE).document["digest"] != first["digest"]


@pytest.mark.slow
def test_module_is_copied_into_the_registry_of_the_server(run, client, tagged, pinned):
    assert "team/echo/copied@sha256:" in run("module", "push", tagged, "team/echo/copied").out
    assert client.module("team/echo/copied").info == pinned
    run("module", "push", pinned, "team/echo/copied", "--info", "mine")
    assert client.module("team/echo/copied").info == "mine"


@pytest.mark.slow
def test_lambda_is_created_of_a_reference(run, client, tagged, pinned):
    created = run("lambda", "create", tagged, "--name", "from-oci", "--json")
    assert created.document["pulled"] == pinned
    assert created.err == f"piecework: pulled {pinned}\n"
    assert client.lambda_("from-oci").codex_checksum == hashlib.sha256(CODE).hexdigest()
    again = run("lambda", "create", "--module", pinned, "--name", "from-oci", "--reuse")
    assert (again.out.strip(), again.err) == (created.document["id"], "")
    assert client.lambda_("from-oci").source == pinned
    assert pinned in run("lambda", "show", "from-oci").out


def test_a_lambda_of_a_file_was_pulled_from_nowhere(run, client, tmp_path):
    (tmp_path / "code.wasm").write_bytes(CODE)
    run("lambda", "create", tmp_path / "code.wasm", "--name", "from-file")
    assert client.lambda_("from-file").source is UNSET
    assert "pulled from" not in run("lambda", "show", "from-file").out


def test_reference_is_inspected(run, pinned):
    assert run("lambda", "inspect", pinned, "--json").document["default"] == "wasi"


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--file", "--module"])
def test_function_is_deployed_of_a_reference(run, empty, tagged, pinned, option):
    assert run("function", "deploy", "echo", option, tagged, "--replicas", 0).out.startswith("echo/1: as jobs")
    assert run("function", "deploy", "echo", option, pinned, "--replicas", 0).out.startswith("echo/1: as jobs")
    [revision] = run("function", "show", "echo", "--json").document["revisions"]
    assert revision["source"] == pinned
    assert pinned in run("function", "show", "echo").out


def test_revision_is_not_called_latest(run, empty, registry):
    registry.put_module("latest", registry.put_blob(CODE))
    deployed = run("function", "deploy", "echo", "--module", f"oci://{registry.host}/echo", "--replicas", 0).out
    assert deployed.startswith(f"echo/{hashlib.sha256(CODE).hexdigest()[:12]}: as jobs")


def test_job_is_run_of_a_reference(run, worker, pinned):
    assert run("run", pinned, given=b"hello").out_bytes == b"HELLO"


@pytest.mark.parametrize(
    ("words", "exit_code", "reason"),
    [
        (("module", "push", ECHO, "oci://h/Name:1"), 2, "is no name in an OCI registry"),
        (("module", "push", ECHO, f"oci://h/n:1@sha256:{'0' * 64}"), 2, "its digest is what the bytes give"),
        (("module", "push", ECHO, "a/b/c", "--annotation", "x=y"), 2, "--annotation is for OCI registries"),
        (("module", "pull", "oci://h"), 2, "is not oci://HOST"),
        (("module", "show", "oci://h/n"), 2, "is not ORG/MODULE/TAG"),
        (("module", "pull", "oci://127.0.0.1:9/n:1"), 1, "oci://127.0.0.1:9/n:1: 127.0.0.1:9 does not answer"),
        (("lambda", "create", "oci://127.0.0.1:9/n:1"), 1, "does not answer"),
        (("run", "oci://127.0.0.1:9/n:1"), 1, "does not answer"),
        (("function", "deploy", "f", "--file", "oci://127.0.0.1:9/n:1"), 1, "does not answer"),
    ],
)
def test_what_cannot_be_is_one_line(run, tmp_path, monkeypatch, words, exit_code, reason):
    monkeypatch.chdir(tmp_path)
    refused = run(*words, exit_code=exit_code)
    assert reason in refused.err
    assert (refused.out, refused.err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


def test_other_bytes_are_never_sent_on(run, client, registry, tagged):
    registry.blobs[sha256(CODE)] = CODE[:-1] + b"?"
    before = [each.id for each in client.lambdas(limit=1)]
    assert "the digest of its layer is" in run("lambda", "create", tagged, exit_code=1).err
    assert [each.id for each in client.lambdas(limit=1)] == before
