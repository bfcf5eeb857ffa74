"""A deterministic lambda gives the same bytes, fuel and digests on any node."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime
from guests import guest
from msgspec import UNSET

from piecework import Client
from piecework.client.errors import JobFailed
from piecework.local import LocalAgent, LocalServer, stop_together
from piecework.protocol.messages import Usage, Verify

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0
UNSTEADY = """
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\40\\00\\00\\00")
  (func (export "_start")
    (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 16)))
    (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 24)))
    (drop (call $random (i32.const 32) (i32.const 32)))
    (f64.store (i32.const 72) (f64.div (f64.const 0) (f64.const 0)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""
"""Prints two clocks and random bytes, and leaves a NaN in its memory."""


@pytest.fixture(scope="module")
def nodes(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The tags of two agents with caches of their own."""
    folder, names = tmp_path_factory.mktemp("nodes"), ["one", "two"]
    agents = [LocalAgent(server.url, folder, name, "--slots", "1", "--tag", name) for name in names]
    yield names
    stop_together(agents)


def run_on(client: Client, node: str, lambda_id: int, content: bytes) -> tuple[bytes, Usage]:
    job = client.submit(lambda_id, content, tags=[f"+{node}"], max_attempts=1)
    output = client.result(job, PATIENCE_S)
    usage = client.job(job).usage
    assert isinstance(usage, Usage)
    return output, usage


@pytest.mark.parametrize(
    ("code", "runtime", "args"),
    [
        (wasmtime.wat2wasm(UNSTEADY), "wasi", []),
        (guest("burn_cpu"), "default", ["1"]),
        (guest("capsule_g2"), "capsule", []),
        (guest("funless_before"), "funless", []),
    ],
    ids=["clock and random", "clock", "capsule", "funless"],
)
def test_same_job_gives_the_same_bytes_fuel_and_digests_on_two_nodes(
    client: Client, nodes: list[str], code: bytes, runtime: str, args: list[str]
):
    lambda_id = client.create_lambda(bytes(code), runtime, args=args, deterministic=True)
    content = b"ping hello" if runtime == "capsule" else b"{}"
    (output, usage), (again, usage_again) = (run_on(client, node, lambda_id, content) for node in nodes)
    assert output == again != b""
    assert usage.fuel == usage_again.fuel
    assert usage.fuel
    digests = usage.digests
    assert digests is not None
    assert digests == usage_again.digests
    assert digests.module == hashlib.sha256(code).hexdigest()
    assert digests.input == hashlib.sha256(content).hexdigest()
    assert digests.output == hashlib.sha256(output).hexdigest()
    assert len(digests.memory or "") == 64


def test_another_input_gives_another_clock_and_other_random_numbers(client: Client, nodes: list[str]):
    lambda_id = client.create_lambda(bytes(wasmtime.wat2wasm(UNSTEADY)), deterministic=True)
    (one, _), (two, _) = (run_on(client, nodes[0], lambda_id, content) for content in (b"1", b"2"))
    assert one[:8] != two[:8]
    assert one[16:48] != two[16:48]


def test_without_the_mode_runs_differ_and_there_are_no_digests(client: Client, nodes: list[str]):
    lambda_id = client.create_lambda(bytes(wasmtime.wat2wasm(UNSTEADY)))
    (one, usage), (two, _) = (run_on(client, nodes[0], lambda_id, b"") for _ in range(2))
    assert one != two
    assert (usage.fuel, usage.digests) == (None, None)


def test_failed_run_has_digests_but_none_of_an_output(client: Client, nodes: list[str], tmp_path: Path):
    lambda_id = client.create_lambda(guest("crash"), deterministic=True)
    fuels = []
    for node in nodes:
        job = client.submit(lambda_id, b"x", tags=[f"+{node}"], max_attempts=1)
        with pytest.raises(JobFailed):
            client.result(job, PATIENCE_S)
        usage = client.job(job).usage
        assert isinstance(usage, Usage)
        assert usage.digests is not None
        assert usage.digests.output is None
        fuels.append((usage.fuel, usage.digests))
    assert fuels[0] == fuels[1]


def test_a_sweep_of_equal_jobs_runs_only_what_changed(client: Client, nodes: list[str]):
    lambda_id = client.create_lambda(guest("uppercase"), "wasi", deterministic=True, memo=True)
    before = [f"case {number}".encode() for number in range(300)]
    after = [b"changed " + case if number % 100 == 0 else case for number, case in enumerate(before)]
    first = client.submit_many(lambda_id, before)
    assert [client.result(job, PATIENCE_S) for job in first] == [case.upper() for case in before]
    again = client.submit_many(lambda_id, after)
    assert [client.result(job, PATIENCE_S) for job in again] == [case.upper() for case in after]
    infos = [client.job(job) for job in again]
    assert [info.recalled for info in infos if info.attempt] == [UNSET] * 3
    assert [info.recalled for info in infos if not info.attempt] == [job for n, job in enumerate(first) if n % 100]
    assert client.memos(lambda_id).kept == 303


def test_two_nodes_agree_on_results(client: Client, nodes: list[str]):
    rule = Verify(quorum=len(nodes))
    lambda_id = client.create_lambda(guest("uppercase"), "wasi", deterministic=True, verify=rule)
    cases = [f"case {number}".encode() for number in range(20)]
    assert client.gather(client.submit_many(lambda_id, cases), PATIENCE_S) == [case.upper() for case in cases]
    [job] = client.jobs(limit=1)
    assert client.job(job.id).verified is True
    details = [event.detail for event in client.trace(job.id)]
    assert "one owner's worker gave a result: another has to agree" in details
    assert [(each.agreed, each.wrong) for each in client.owners()] == [(20, 0)] * 2
