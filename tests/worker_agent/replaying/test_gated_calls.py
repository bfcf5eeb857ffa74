"""Recorded calls of functions, replayed against new code."""

import re
import socket
from pathlib import Path

import msgspec
import pytest
from abis import ABIS
from code_mutants import FUEL, MODULE, WORKS, Direct, make_inputs, make_mutants
from receipts import sha256
from tries import tries
from web_host import WebHost

from piecework.http.exchange import Request
from piecework.protocol.messages import Grants
from piecework.receipts.canonical import encode_canonical
from piecework.receipts.gates import GateBounds, sum_runs
from piecework.receipts.recorded_calls import RecordedCall
from piecework.worker_agent.replaying.gating import CodeGate, NewCode
from piecework.worker_agent.runtimes.base import Bounds, CodeFile
from piecework.worker_agent.runtimes.linkage.direct import DirectLinkage
from piecework.worker_agent.runtimes.services.access import NodeRules
from piecework.worker_agent.runtimes.services.store import MemoryStore
from piecework.worker_agent.serving.function import Function
from piecework.worker_agent.serving.recording import SUFFIX, CallRecorder, RecordingPlan

SAMPLES = Path(__file__).parents[3] / "samples"
DIRECT_ONLY = pytest.mark.parametrize("toolchain", [DirectLinkage], indirect=True, ids=["direct"])
GUESTS = [(name, "echo") for name in ABIS] + [(name, "trap") for name, abi in ABIS.items() if abi.suffix == "wat"]
REBUILT = b"\0\x08\x04noteabc"
"""Behind a module, it is the same with another digest."""
COUNTER = b"""
import os, sys
name = os.environ.get("NAME", "nobody")
body = sys.stdin.read()
if body == "fail":
    raise SystemExit(3)
print(f"Status: {404 if body == 'none' else 200}")
print("Content-Type: text/plain")
print("X-Extra: 1")
print()
print(f"{os.environ['REQUEST_METHOD']} {os.environ['PATH_INFO']} {name} {body}")
"""


@pytest.fixture
def record(workbench, perform, monkeypatch, tmp_path):
    """Return a function that has a call of some code recorded, and returns the record with its variables."""
    calls = tmp_path / "calls"
    calls.mkdir()
    monkeypatch.setattr(workbench, "_store", MemoryStore())

    def record_call(code, request, runtime="wasi", *, env=None, rules=None, **fields):
        workbench._rules = rules or NodeRules()
        path = tmp_path / f"{sha256(code)}.code"
        path.write_bytes(code)
        function = Function(file=path, runtime=runtime, mode="http", env=env or {}, **fields)
        plan = RecordingPlan(folder=calls)
        recorder = CallRecorder(plan, clock=lambda: 1.0, draw=lambda: 0.0, draw_seed=lambda: bytes(32))
        assert recorder.picks(request)
        draft = recorder.prepare(function.read(tmp_path), request, 8080)
        done = perform(draft.frame)
        recorder.keep(draft, done.whole, 0.25)
        [file] = calls.glob(f"*{SUFFIX}")
        call = RecordedCall.read_from(file.read_bytes())
        file.unlink()
        return call.with_parts([encode_canonical(env or {})])

    return record_call


@pytest.fixture
def replay(node, tmp_path):
    """Return a function that replays calls against new code, and returns what came of each."""

    def replay_all(calls, code, runtime="wasi"):
        path = tmp_path / f"{sha256(code)}.new"
        path.write_bytes(code)
        with CodeGate(NewCode(CodeFile(path, sha256(code)), runtime), node, timeout_s=120.0) as gate:
            return [gate.replay(n, call, call.record.memory_bytes) for n, call in enumerate(calls, 1)]

    return replay_all


def judge(runs, **bounds):
    return sum_runs(1, "0" * 64, "wasi", runs, GateBounds(**bounds), "hola/blue")


def post(body=b"", uri="/", **headers):
    return Request("POST", uri, tuple(headers.items()), body)


@pytest.mark.integration
@DIRECT_ONLY
@pytest.mark.parametrize("name", WORKS)
def test_mutants_of_a_function_are_found(record, replay, build_text, name):
    old = build_text(MODULE % WORKS[name])
    inputs = [given for given in make_inputs() if given]
    calls = [record(old, post(given), bounds=Bounds(timeout_s=10.0, fuel=FUEL)) for given in inputs]
    then = [Direct(old).run(given) for given in inputs]
    caught = 0
    mutants = make_mutants(WORKS[name])[: tries(17)]
    for text in mutants:
        code = build_text(MODULE % text)
        direct = Direct(code)
        differs = [direct.run(given) != was for given, was in zip(inputs, then, strict=True)]
        runs = replay(calls, code)
        assert [run.kind != "identical" for run in runs] == differs, text
        caught += any(differs)
        assert judge(runs).passed is not any(differs)
    assert caught >= len(mutants) // 2
    evidence = judge(replay(calls, old + REBUILT), fuel_percent=0, memory_percent=0)
    assert (evidence.passed, evidence.identical) == (True, len(inputs))


@pytest.mark.integration
@DIRECT_ONLY
@pytest.mark.parametrize(("runtime", "guest"), GUESTS)
def test_calls_of_each_runtime_replay_alike(record, replay, build_guest, interpreters, runtime, guest):
    code = build_guest(f"{runtime}/{guest}")
    requests = [post(ABIS[runtime].wrap(b"Zoe"), "/a?b=c"), Request("GET", "/")]
    calls = [record(code, each, runtime) for each in requests]
    assert [run.kind for run in replay(calls, code, runtime)] == ["identical"] * 2


@pytest.mark.slow
@DIRECT_ONLY
def test_a_rebuild_of_a_script_is_no_alarm(record, replay):
    requests = [post(b"hello", "/a/b?c=d", Accept="text/plain"), post(b"none"), post(b"fail"), Request()]
    calls = [record(COUNTER, each, "python3.12", env={"NAME": "Zoe"}) for each in requests]
    assert [call.response and call.response.status for call in calls] == [200, 404, 500, 200]
    assert calls[0].response.body == b"POST /a/b Zoe hello\n"
    assert [run.kind for run in replay(calls, COUNTER + b"# rebuilt\n", "python3.12")] == ["identical"] * 4


@pytest.mark.slow
@DIRECT_ONLY
@pytest.mark.parametrize(
    ("change", "kind", "message", "passes"),
    [
        ((b"else 200", b"else 503"), "status", "it answers with the status 503, then 200: GET", False),
        ((b"X-Extra: 1", b"X-Extra: 2"), "output", "the headers of the answer differ: X-Extra", True),
        ((b"{body}", b"{body}!"), "output", "the body of the answer differs from byte 13 on: ", True),
        ((b"body = ", b"body = 1 / 0 #"), "exit code", "the exit code differs: then 0, now 1", False),
    ],
)  # fmt: skip
def test_how_an_answer_differs_is_told(record, replay, change, kind, message, passes):
    call = record(COUNTER, Request("GET", "/"), "python3.12")
    [run] = replay([call], COUNTER.replace(*change), "python3.12")
    assert (run.kind, run.message[: len(message)]) == (kind, message)
    assert judge([run], policy="same-status").passed is passes


@DIRECT_ONLY
def test_no_packet_leaves_in_a_replay(record, replay, build_guest):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        url = f'"http://127.0.0.1:{listening.getsockname()[1]}/"'.encode()
        call = record(build_guest("funless/echo"), post(url), "funless", grants=Grants(http=["*"]))
        fetch = (SAMPLES / "funless_fetch.wasm").read_bytes()
        [run] = replay([call], fetch, "funless")
        assert run.kind == "calls"
        assert re.match(r"host call \d+: it asks for http .*, which the old one did not", run.message)
        with pytest.raises(BlockingIOError):
            listening.accept()


@DIRECT_ONLY
def test_an_answer_from_outside_comes_from_the_journal(record, replay):
    fetch = (SAMPLES / "funless_fetch.wasm").read_bytes()
    host = WebHost()
    try:
        host.pages["/"] = b"hello"
        allowed = host.url.removeprefix("http://")
        rules, grants = NodeRules(http=(allowed,)), Grants(http=[allowed])
        call = record(fetch, post(f'"{host.url}/"'.encode()), "funless", rules=rules, grants=grants)
    finally:
        host.close()
    assert (call.response.body, len(host.requests)) == (b"200", 1)
    [run] = replay([call], fetch + REBUILT, "funless")
    assert run.kind == "identical"
    assert len(host.requests) == 1


@DIRECT_ONLY
def test_what_calls_share_comes_from_the_journal(record, replay, workbench):
    code = (SAMPLES / "capsule_hello.wasm").read_bytes()
    call = record(code, post(b"Zoe"), "capsule", env={"MESSAGE": "hola"})
    workbench._store.set(b"capsule_version", b"of another")
    again = record(code, post(b"Zoe"), "capsule", env={"MESSAGE": "hola"})
    runs = replay([call, again], code + REBUILT, "capsule")
    assert [run.kind for run in runs] == ["identical"] * 2
    assert runs[0].fuel_now == runs[0].fuel_then
    assert runs[0].memory_now == runs[0].memory_then


@DIRECT_ONLY
def test_a_call_without_its_variables_is_passed_over(record, replay):
    call = record(COUNTER, Request(), "python3.12", env={"NAME": "Zoe"})
    without = RecordedCall(msgspec.structs.replace(call.record, parts=call.record.parts[:-1]))
    [run] = replay([without], COUNTER, "python3.12")
    assert run.kind == "skipped"
    assert "the recorded call has no part " in run.message
