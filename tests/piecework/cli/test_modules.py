import hashlib
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[3] / "samples"
HOLA, ECHO = SAMPLES / "capsule_g4.wasm", SAMPLES / "echo.wasm"
DIGEST = hashlib.sha256(HOLA.read_bytes()).hexdigest()


@pytest.fixture
def name(request):
    return f"cli/{request.node.name[:90]}/0.0.1"


def test_a_module_is_pushed_and_its_full_name_printed(run, name):
    assert run("module", "push", HOLA, name, "--info", "says hola").out == f"{name}@sha256:{DIGEST}\n"
    again = run("module", "push", "-", name, "--json", given=HOLA.read_bytes()).document
    assert (again["digest"], again["info"], again["abi"]) == (DIGEST, "says hola", "capsule 4")


def test_what_is_pushed_wrongly_is_one_line(run, name, tmp_path):
    run("module", "push", HOLA, name)
    taken = run("module", "push", ECHO, name, exit_code=1)
    assert (taken.out, taken.err.count("\n")) == ("", 1)
    assert "tags do not change: push another tag, or delete this one first" in taken.err
    (tmp_path / "page.wasm").write_text("<!doctype html>")
    assert (
        "this is an HTML page, not a wasm binary"
        in run("module", "push", tmp_path / "page.wasm", f"{name}a", exit_code=1).err
    )
    assert "is not ORG/MODULE/TAG" in run("module", "push", HOLA, "hola", exit_code=2).err
    assert (
        "its digest is what the bytes give"
        in run("module", "push", HOLA, f"{name}@sha256:{DIGEST}", exit_code=2).err
    )
    assert "does not exist" in run("module", "push", tmp_path / "none", name, exit_code=2).err


def test_modules_are_listed_newest_first(run, name):
    run("module", "push", HOLA, name, "--info", "says hola")
    run("module", "push", ECHO, f"{name}b")
    newest, second = run("module", "list", "--limit", 2).rows
    assert newest[:2] == [f"{name}b", "wasi"]
    assert second[:3] == [name, "capsule", "4"]
    assert second[-2:] == ["says", "hola"]
    assert DIGEST[:12] in second
    documents = run("module", "list", "--limit", 2, "--json").document
    assert [each["digest"] for each in documents][1] == DIGEST


def test_a_module_is_shown_with_what_it_needs(run, name):
    run("module", "push", HOLA, name, "--info", "says hola")
    shown = dict(line.split(maxsplit=1) for line in run("module", "show", name).out.splitlines())
    assert (shown["name"], shown["info"], shown["abi"]) == (name, "says hola", "capsule 4")
    assert (shown["kind"], shown["SHA-256"], shown["generation"]) == ("module", DIGEST, "4")
    document = run("module", "show", f"{name}@sha256:{DIGEST}", "--json").document
    assert document["inspection"]["default"] == "capsule"
    assert document["size"] == HOLA.stat().st_size
    assert "there is no module a/b/c" in run("module", "show", "a/b/c", exit_code=1).err


def test_a_module_is_pulled_into_a_file_or_to_stdout(run, name, tmp_path, monkeypatch):
    run("module", "push", HOLA, name)
    monkeypatch.chdir(tmp_path)
    file = f"{name.split('/')[1]}.wasm"
    assert run("module", "pull", name).out == f"{file}: {name}@sha256:{DIGEST}\n"
    assert (tmp_path / file).read_bytes() == HOLA.read_bytes()
    document = run("module", "pull", name, "-o", tmp_path / "other", "--json").document
    assert (document["file"], document["digest"]) == (str(tmp_path / "other"), DIGEST)
    assert (tmp_path / "other").read_bytes() == HOLA.read_bytes()
    assert run("module", "pull", name, "-o", "-").out_bytes == HOLA.read_bytes()
    refused = run("module", "pull", f"{name}@sha256:{'0' * 64}", "-o", tmp_path / "wrong", exit_code=1)
    assert f"has the digest {DIGEST}, not 0000" in refused.err
    assert not (tmp_path / "wrong").exists()
    assert "No such file or directory" in run("module", "pull", name, "-o", "/none/x", exit_code=1).err


def test_modules_are_deleted_one_after_the_other(run, name):
    run("module", "push", HOLA, name)
    ran = run("module", "delete", "a/b/c", name, exit_code=1)
    assert ran.out == f"{name} is deleted\n"
    assert ran.err == "piecework: a/b/c: there is no module a/b/c\n"
    run("module", "push", HOLA, name)
    assert run("module", "delete", name, "--json").document == {"deleted": [name]}


def test_a_lambda_is_created_from_a_module(run, client, name):
    run("module", "push", HOLA, name)
    created = run("lambda", "create", "--module", name, "--runtime", "capsule").out.strip()
    assert client.lambda_(created).codex_checksum == DIGEST
    assert "there is no module a/b/c" in run("lambda", "create", "--module", "a/b/c", exit_code=1).err
    for wrong in ([], [HOLA, "--module", name]):
        assert "FILE, ID or --module, and only one of them" in run("lambda", "create", *wrong, exit_code=2).err
