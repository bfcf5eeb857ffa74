"""Receipts of real agents, taken by real servers, checked without either."""

import hashlib
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import wasmtime
from guests import SAMPLES, guest

from piecework import Client
from piecework.client.errors import JobFailed, NotFound
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.receipts import KeyRing, ReceiptPayload, subject_digest, verify_receipt

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0
CLOCK = """
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 16)))))
"""
PAGE = Path(__file__).parents[2] / "docs" / "receipts.md"


@pytest.fixture(scope="module", autouse=True)
def agents(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LocalAgent]]:
    """Two agents with caches and keys of their own."""
    folder = tmp_path_factory.mktemp("nodes")
    found = [LocalAgent(server.url, folder, name, "--slots", "2", "--tag", name) for name in ("one", "two")]
    yield found
    stop_together(found)


def keys_of(client: Client) -> KeyRing:
    return KeyRing(list(client.signing_keys()))


def check(client: Client, job: int) -> ReceiptPayload:
    checked = verify_receipt(client.receipt(job), keys_of(client))
    assert [key.owner for key in checked.signers] == ["worker", "server"]
    assert checked.payload.job == str(int(job))
    return checked.payload


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("name", "runtime", "args", "content"),
    [
        ("echo", "default", [], b"hello"),
        ("burn_cpu", "default", ["1"], b""),
        ("word_frequencies", "default", [], b"a b a"),
        ("capsule_g2", "capsule", [], b"ping hello"),
        ("funless_before", "funless", [], b"{}"),
    ],
)
def test_a_job_has_a_receipt_which_is_the_same_but_for_who_and_when_on_two_nodes(
    client: Client, name: str, runtime: str, args: list[str], content: bytes
):
    code = guest(name)
    lambda_id = client.create_lambda(code, runtime, args=args, deterministic=True)
    claims, workers = [], []
    for node in ("one", "two"):
        job = client.submit(lambda_id, content, tags=[f"+{node}"], env={"A": "b"})
        output = client.result(job, PATIENCE_S)
        payload = check(client, job)
        subject, result = payload.claim.subject, payload.claim.result
        assert (subject.module, subject.input) == (sha256(code), sha256(content))
        assert (result.output, result.state, result.comparable) == (sha256(output), "Finished", True)
        assert payload.engine.name == "wasmtime"
        claims.append(payload.claim)
        workers.append(payload.worker)
    assert claims[0] == claims[1]
    assert subject_digest(claims[0].subject) == subject_digest(claims[1].subject)
    assert workers[0] != workers[1]


def test_each_sample_guest_has_a_receipt_however_it_ends(client: Client):
    names = sorted(path.stem for path in SAMPLES.glob("*.wasm"))
    jobs = {}
    for name in names:
        lambda_id = client.create_lambda(guest(name), deterministic=True)
        jobs[name] = client.submit(lambda_id, b"ping 1", max_attempts=1, timeout_s=2.0)
    infos = {info.id: info for info in client.ended(list(jobs.values()), PATIENCE_S)}
    states = set()
    unrepeatable = {name for name, job in jobs.items() if infos[job].usage.digests is None}
    for name, job in jobs.items():
        if name in unrepeatable:
            continue
        payload = check(client, job)
        assert payload.claim.subject.module == sha256(guest(name))
        assert payload.claim.result.state == infos[job].state
        states.add(infos[job].state)
    assert unrepeatable == {"funless_fetch"}  # it cannot do without the network, which such a lambda has not
    assert len(jobs) >= 25
    assert states == {"Finished", "Fail_Execution"}


def test_a_job_with_files_has_their_lists_in_its_receipt(client: Client):
    lambda_id = client.create_lambda(guest("copy_file"), deterministic=True)
    job = client.submit(lambda_id, b"a b", files={"a/b.txt": b"x", "empty": b""}, outputs=["**"])
    client.result(job, PATIENCE_S)
    subject = check(client, job).claim.subject
    lines = f"{sha256(b'x')}  a/b.txt\n{sha256(b'')}  empty\n"
    assert subject.files == sha256(lines.encode())
    assert subject.outputs == ["**"]
    result = check(client, job).claim.result
    assert result.made == sha256(lines.encode())


def test_what_a_job_gets_from_others_is_in_its_receipt(client: Client):
    lambda_id = client.create_lambda(guest("echo"), deterministic=True)
    first = client.submit(lambda_id, b"first")
    second = client.submit(lambda_id, b"second", files_of={"one.txt": str(first)})
    client.result(second, PATIENCE_S)
    assert check(client, second).claim.subject.inputs == sha256(f"{sha256(b'first')}  one.txt\n".encode())


@pytest.mark.parametrize("node", ["one", "two"])
def test_a_recorded_run_has_its_journal_in_its_receipt(client: Client, node: str):
    code = bytes(wasmtime.wat2wasm(CLOCK))
    lambda_id = client.create_lambda(code, "wasi", record=True)
    job = client.submit(lambda_id, b"", tags=[f"+{node}"])
    client.result(job, PATIENCE_S)
    payload = check(client, job)
    subject = payload.claim.subject
    assert (subject.profile, subject.journal_cut) == ("record", False)
    assert subject.journal == sha256(client.read(client.job(job).journal))
    assert payload.claim.result.comparable


def test_large_outputs_have_receipts(client: Client):
    lambda_id = client.create_lambda(guest("echo"), deterministic=True)
    content = bytes(range(256)) * 1024
    job = client.submit(lambda_id, content)
    assert client.result(job, PATIENCE_S) == content
    assert check(client, job).claim.result.output == sha256(content)


@pytest.mark.parametrize(
    ("code", "kind", "comparable"),
    [
        ("(unreachable)", "trap", True),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "trap", False),
        ("(call $main)", "trap", False),
        ("(loop (br 0))", "timeout", False),
    ],
    ids=["trap", "division", "stack", "time"],
)
def test_failed_runs_have_receipts_and_some_ends_are_incomparable(
    client: Client, code: str, kind: str, comparable: bool
):
    text = f'(module (memory (export "memory") 1) (func $main (export "_start") {code}))'
    lambda_id = client.create_lambda(bytes(wasmtime.wat2wasm(text)), deterministic=True)
    job = client.submit(lambda_id, b"", max_attempts=1, timeout_s=1.0)
    with pytest.raises(JobFailed):
        client.result(job, PATIENCE_S)
    result = check(client, job).claim.result
    assert (result.state, result.error_kind, result.output) == ("Fail_Execution", kind, None)
    assert result.comparable is comparable


def test_jobs_of_other_lambdas_have_none_and_it_is_said_why(client: Client):
    lambda_id = client.create_lambda(guest("echo"))
    job = client.submit(lambda_id, b"x")
    client.result(job, PATIENCE_S)
    with pytest.raises(NotFound, match="has no receipt: its lambda is neither deterministic nor recorded"):
        client.receipt(job)


def test_an_agent_keeps_its_key_and_old_receipts_count_after_it_was_replaced(
    server: LocalServer, client: Client, tmp_path: Path
):
    lambda_id = client.create_lambda(guest("echo"), deterministic=True)
    jobs, keyids = [], []
    for start in range(3):
        if start == 2:
            [path] = tmp_path.rglob("receipts.key")
            path.unlink()
        with LocalAgent(server.url, tmp_path, "changing", "--tag", "changing"):
            job = client.submit(lambda_id, b"x", tags=["+changing"])
            client.result(job, PATIENCE_S)
        jobs.append(job)
        keyids.append(client.receipt(job).signatures[0].keyid)
    assert keyids[0] == keyids[1] != keyids[2]
    assert len({check(client, job).worker for job in jobs}) == 1
    [old] = client.signing_keys(keyids[0])
    [new] = client.signing_keys(keyids[2])
    assert isinstance(old.replaced_at, float)
    assert new.replaced_at is msgspec.UNSET
    [act] = client.audit(act="replace key")
    assert (act.by, act.target) == ("worker", str(int(new.id)))
    assert act.detail == f"{keyids[2]} for {keyids[0]}"


def test_a_server_keeps_its_key_through_a_restart(tmp_path: Path):
    with LocalServer(tmp_path / "s") as server, Client(server.url) as client:
        lambda_id = client.create_lambda(guest("echo"), deterministic=True)
        with LocalAgent(server.url, tmp_path / "a", "own"):
            first = client.submit(lambda_id, b"1")
            client.result(first, PATIENCE_S)
            assert len(keys_of(client)) == 2
    with LocalServer(tmp_path / "s") as server, Client(server.url) as client:
        with LocalAgent(server.url, tmp_path / "b", "own"):
            second = client.submit(lambda_id, b"2")
            client.result(second, PATIENCE_S)
        assert check(client, first).job != check(client, second).job
        owners = [key.owner for key in client.signing_keys()]
        assert sorted(owners) == ["server", "worker", "worker"]


def test_the_program_of_the_page_checks_a_real_receipt(server: LocalServer, client: Client, tmp_path: Path):
    [program] = re.findall(r"<!-- program -->\n```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    lambda_id = client.create_lambda(guest("echo"), deterministic=True)
    job = client.submit(lambda_id, b"hello")
    (tmp_path / "output").write_bytes(client.result(job, PATIENCE_S))
    (tmp_path / "check.py").write_text(program)
    for name, path in (("receipt.json", f"job/{int(job)}/receipt"), ("keys.json", "keys?limit=1000")):
        with urllib.request.urlopen(f"{server.url}/{path}") as reply:
            (tmp_path / name).write_bytes(reply.read())
    command = [sys.executable, "check.py", "receipt.json", "keys.json", "output"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"job {int(job)} by worker {check(client, job).worker} Finished\n"
    (tmp_path / "output").write_bytes(b"hellO")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "this is another output" in done.stderr
