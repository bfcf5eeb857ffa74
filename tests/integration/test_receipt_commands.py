"""`piecework receipt` and `piecework bundle`, with real jobs; what was changed is named."""

import json
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from guests import guest

from piecework import Client
from piecework.cli.main import main
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.ids import Id
from piecework.receipts import Bundle

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0
Run = Callable[..., Result]


@pytest.fixture(scope="module", autouse=True)
def running(agent: LocalAgent) -> LocalAgent:
    return agent


@pytest.fixture
def run(server: LocalServer) -> Run:
    def run(*words: object, code: int = 0) -> Result:
        env = {"PIECEWORK_URL": server.url, "PIECEWORK_TOKEN": None}
        result = CliRunner(env=env).invoke(main, list(map(str, words)), prog_name="piecework")
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture(scope="module")
def job(client: Client) -> Id:
    """A job that has every kind of part but a journal."""
    first = client.submit(client.create_lambda(guest("echo")), b"first")
    lambda_id = client.create_lambda(guest("copy_file"), deterministic=True)
    found = client.submit(
        lambda_id,
        b"input",
        args=["/inputs/one.txt", "made.txt"],
        env={"LANG": "C"},
        files={"given/a": b"a", "empty": b""},
        outputs=["*.txt"],
        files_of={"one.txt": str(first)},
    )
    client.result(found, PATIENCE_S)
    return Id(found)


@pytest.fixture
def keys(server: LocalServer, tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    with urllib.request.urlopen(f"{server.url}/keys") as reply:
        path.write_bytes(reply.read())
    return path


@pytest.fixture
def receipt(run: Run, job: Id, tmp_path: Path) -> Path:
    run("receipt", "get", job, "-o", tmp_path / "r.json")
    return tmp_path / "r.json"


@pytest.fixture
def bundle(run: Run, job: Id, tmp_path: Path) -> Path:
    said = run("bundle", job, "-o", tmp_path / "b.zip").stderr
    assert said.startswith(f"piecework: wrote {tmp_path / 'b.zip'}, ")
    return tmp_path / "b.zip"


def test_a_receipt_is_shown_with_its_digests_and_signers(run: Run, job: Id, receipt: Path):
    shown = run("receipt", "show", job).stdout
    for text in (str(int(job)), "Finished", "SHA-256 of module", "good, worker", "good, a server", "wasmtime"):
        assert text in shown
    assert "not checked" in run("receipt", "show", receipt).stdout
    document = json.loads(run("receipt", "show", job, "--json").stdout)
    assert document["job"] == str(int(job))
    assert len(document["subject_digest"]) == 64


def test_a_good_receipt_is_good(run: Run, job: Id, receipt: Path, keys: Path, tmp_path: Path):
    said = run("receipt", "verify", receipt, "--keys", keys).stdout
    assert said.startswith(f"good: job {int(job)}, Finished, signed by worker ")
    (tmp_path / "in").write_bytes(b"input")
    (tmp_path / "code").write_bytes(guest("copy_file"))
    (tmp_path / "out").write_bytes(b"")
    files = ["--input", tmp_path / "in", "--module", tmp_path / "code", "--output", tmp_path / "out"]
    run("receipt", "verify", receipt, "--keys", keys, *files)
    for name in ("in", "code", "out"):
        old = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(b"x" + old)
        said = run("receipt", "verify", receipt, "--keys", keys, *files, code=1).stderr
        assert f"{tmp_path / name} is not the " in said
        (tmp_path / name).write_bytes(old)


def test_a_receipt_that_was_changed_is_bad_and_it_is_said_where(run: Run, receipt: Path, keys: Path):
    fields = json.loads(receipt.read_text())
    swapped = {**fields, "signatures": fields["signatures"][::-1]}
    receipt.write_text(json.dumps(swapped))
    assert (
        "signature 1 is of a key of a server, and must be of worker"
        in run("receipt", "verify", receipt, "--keys", keys, code=1).stderr
    )
    receipt.write_text(json.dumps(fields)[:-50])
    assert f"{receipt} cannot be read" in run("receipt", "verify", receipt, "--keys", keys, code=1).stderr


def test_keys_are_needed_and_a_missing_file_is_misuse(run: Run, receipt: Path, keys: Path, tmp_path: Path):
    assert "give those that you trust with --keys" in run("receipt", "verify", receipt, code=2).stderr
    run("receipt", "verify", tmp_path / "none", "--keys", keys, code=2)
    other = json.loads(keys.read_text())
    other["keys"] = [key for key in other["keys"] if key["owner"] == "server"]
    keys.write_text(json.dumps(other))
    said = run("receipt", "verify", receipt, "--keys", keys, code=1).stderr
    assert "which is none of the" in said


def test_a_bundle_has_all_parts_and_is_good(run: Run, bundle: Path, keys: Path):
    assert "the keys came with the bundle" in run("receipt", "verify", bundle).stderr
    assert run("receipt", "verify", bundle, "--keys", keys).stderr == ""
    with Bundle(bundle) as read:
        assert [part.what for part in read.list_parts()] == [
            "the module",
            "the input",
            "the arguments",
            "the environment",
            "the list of its files",
            "the list of its inputs",
            "the output",
            "the list of the files that it gave back",
            "its file 'empty'",
            "its file 'given/a'",
            "its input 'one.txt'",
            "the file 'made.txt' that it gave back",
        ]


def test_each_part_of_a_bundle_that_was_changed_is_named(run: Run, bundle: Path):
    with zipfile.ZipFile(bundle) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    for name in entries:
        with zipfile.ZipFile(bundle, "w") as new:
            for each, data in entries.items():
                new.writestr(each, data + b"!" if each == name else data)
        said = run("receipt", "verify", bundle, code=1).stderr
        assert name.removeprefix("parts/") in said or "receipt cannot be read" in said, name


def test_a_part_that_is_gone_is_named(run: Run, client: Client, tmp_path: Path):
    given = client.upload(b"soon gone").id
    job = client.submit(client.create_lambda(guest("count_bytes"), deterministic=True), given)
    client.result(job, PATIENCE_S)
    assert run("bundle", job, "-o", tmp_path / "b").exit_code == 0
    client.delete_data(given)
    said = run("bundle", job, "-o", tmp_path / "c", code=1).stderr
    assert "the input is gone: there is no data" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b"]


def test_variables_that_the_server_hides_are_asked_for(run: Run, client: Client, tmp_path: Path):
    lambda_id = client.create_lambda(guest("echo"), deterministic=True)
    job = client.submit(lambda_id, b"x", env={"API_TOKEN": "hush"})
    client.result(job, PATIENCE_S)
    said = run("bundle", job, "-o", tmp_path / "b", code=1).stderr
    assert "give them with --env API_TOKEN=VALUE" in said
    wrong = run("bundle", job, "-o", tmp_path / "b", "--env", "API_TOKEN=loud", code=1).stderr
    assert "the environment is another than that of the receipt" in wrong
    run("bundle", job, "-o", tmp_path / "b", "--env", "API_TOKEN=hush")
    run("receipt", "verify", tmp_path / "b")


def test_a_job_without_a_receipt_is_refused_with_the_reason(run: Run, client: Client, tmp_path: Path):
    job = client.submit(client.create_lambda(guest("echo")), b"x")
    client.result(job, PATIENCE_S)
    for words in (
        ("receipt", "show", job),
        ("receipt", "get", job, "-o", tmp_path / "r"),
        ("bundle", job, "-o", "b"),
    ):
        assert "has no receipt: its lambda is neither" in run(*words, code=1).stderr


def test_a_lambda_that_requires_receipts_says_so(run: Run, client: Client, tmp_path: Path):
    (tmp_path / "code").write_bytes(guest("count_bytes"))
    said = run("lambda", "create", tmp_path / "code", "--receipts", code=1).stderr
    assert "`receipts` needs `deterministic` or `record`" in said
    lambda_id = run("lambda", "create", tmp_path / "code", "--receipts", "--record").stdout.strip()
    job = client.submit(lambda_id, b"x")
    client.result(job, PATIENCE_S)
    assert "required" in run("lambda", "show", lambda_id).stdout
    assert "required" in run("job", "show", job).stdout
    run("receipt", "show", job)
