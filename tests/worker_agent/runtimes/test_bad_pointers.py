"""Wrong places, sizes, handles and texts in every call that a guest can make to its host."""

import contextlib
from random import Random

import pytest
from tries import tries

from piecework.modules.capsule import ANSWERING, PARAMETERS_GET, SILENT, UNCONFIGURED
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.services.access import (
    CouchbaseServer,
    NodeRules,
    Permissions,
    RedisServer,
    SharedDir,
)
from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason
from piecework.worker_agent.runtimes.streams import OutputFullError
from piecework.worker_agent.runtimes.wasi.guest import GuestExitError
from piecework.worker_agent.runtimes.wasi.host import CALLS

MEMORY_BYTES = 64 * 65_536
ODD = (0, 1, 2, 3, 4, 5, 8, 100, 65_536, MEMORY_BYTES - 2, MEMORY_BYTES, -1, -8, -(2**31), 2**31 - 1)
ODD_LONG = (*ODD, 2**32, 2**63 - 1, -(2**63))
NOWHERE = ("127.0.0.1", 1)
EVERYTHING = Grants(http=["*:1", "127.0.0.1"], redis=True, files="write", env=["A"], dirs=["/data:rw"])


@pytest.fixture
def rules(tmp_path):
    """What allows everything: the ways are open, and nobody is there."""
    (tmp_path / "data").mkdir()
    return NodeRules(
        http=("*:1", "127.0.0.1:8093", "127.0.0.0/8"),
        redis=RedisServer(*NOWHERE),
        couchbase=CouchbaseServer("127.0.0.1"),
        folder=str(tmp_path / "private"),
        dirs=(SharedDir(str(tmp_path / "data"), "/data", write=True),),
    )


@pytest.mark.parametrize("name", CALLS)
def test_wasi_answers_whatever_it_is_asked(make_probe, rules, name):
    noise, letters = Random(name), CALLS[name][0]
    for _ in range(tries(4)):
        probe = make_probe(b"some input", access=Permissions.of(EVERYTHING, rules, "owner"))
        # Whatever would wait ends at once.
        probe.stop.stop(StopReason.TIMEOUT)
        probe.put(0, noise.randbytes(4096))
        for _ in range(50):
            numbers = [noise.choice(ODD if letter == "i" else ODD_LONG) for letter in letters]
            with contextlib.suppress(GuestExitError, StoppedError, OutputFullError):
                answer = probe.call(name, *numbers)
                assert 0 <= answer < 77


def make_capsule(name, arguments, words=""):
    """Return a function of Capsule that calls one function of the host."""
    kinds = " ".join(["i32"] * len(arguments))
    numbers = " ".join(f"(i32.const {number})" for number in arguments)
    return f"""(module
      (import "env" "{name}" (func $ask (param {kinds})))
      (memory (export "memory") 1) (data (i32.const 100) "{words}")
      (func (export "malloc") (param i32) (result i32) (i32.const 4096))
      (func (export "allocateBuffer") (param i32) (result i32) (i32.const 8192))
      (func (export "callHandle") (param i32 i32) (result i64) (call $ask {numbers}) (i64.const 0))
      (func (export "callHandleHttp") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i64) (i64.const 0)))"""


TEXTS = SILENT | ANSWERING
CASES = [
    *((name, TEXTS[name], place) for name in TEXTS for place in range(TEXTS[name])),
    *((name, ANSWERING[name], "cells") for name in ANSWERING),
    *((name, 1, "cells") for name in sorted(UNCONFIGURED)),
]


@pytest.mark.parametrize(("name", "texts", "wrong"), CASES)
def test_function_of_capsules_host_refuses_what_lies_outside(run, build_text, name, texts, wrong):
    arguments = [number for place in range(texts) for number in ((-1, 9) if place == wrong else (100, 2))]
    if name not in SILENT:
        arguments += (-4, -8) if wrong == "cells" else (16, 20)
    done = run(build_text(make_capsule(name, arguments, "hi")), runtime="capsule", given=b"x")
    assert done.error.kind is ErrorKind.GUEST
    place = "4 bytes at 4294967292" if wrong == "cells" else "9 bytes at 4294967295"
    assert f"in {name}: {place} lie outside of the guest's memory" in done.error.message


@pytest.mark.parametrize("number", [-1, 0, 2, 2**31 - 1])
def test_request_of_another_number_is_an_error_answer(run, build_text, number):
    text = make_capsule(PARAMETERS_GET, [number, 16, 20])
    done = run(build_text(text), runtime="capsule", given=b"x")
    assert done.error is None


@pytest.mark.parametrize("words", [r"\ff\fe", r"\00\00", r"\f0\9f", "%%", "..", r"\c2\b2"])
@pytest.mark.parametrize("name", [name for name in TEXTS if TEXTS[name]])
def test_function_of_capsules_host_takes_rubbish(run, build_text, name, words, rules):
    arguments = [100, 2] * TEXTS[name] + ([] if name in SILENT else [16, 20])
    text = build_text(make_capsule(name, arguments, words))
    done = run(text, runtime="capsule", given=b"x", grants=EVERYTHING, rules=rules)
    # The module returns nothing, which is well in this generation.
    assert done.error is None


FUNLESS = {
    "__get_input_data": ["(i32.const -1)"],
    "__insert_response": ["(i32.const -1) (i32.const 9)", "(i32.const 9) (i32.const -1)"],
    "__insert_error": ["(i32.const -1) (i32.const 9)", "(i32.const 65535) (i32.const 2)"],
    "__console_log": ["(i32.const -1) (i32.const 9)", "(i32.const 0) (i32.const 65537)"],
    "__http_request": [
        " ".join(f"(i32.const {-9 if place in wrong else 8})" for place in range(10))
        for wrong in ({1}, {2}, {4}, {5}, {6}, {7}, {8}, {9}, {4, 5})
    ],
}
KINDS = {"__get_input_data": 1, "__http_request": 10}


@pytest.mark.parametrize(
    ("name", "arguments"), [(name, arguments) for name, cases in FUNLESS.items() for arguments in cases]
)
def test_function_of_funless_host_refuses_what_lies_outside(run, build_text, name, arguments):
    kinds = " ".join(["i32"] * KINDS.get(name, 2))
    done = run(
        build_text(
            f"""(module (import "fl_imps" "{name}" (func $ask (param {kinds})))
            (import "fl_imps" "__insert_response" (func $respond (param i32 i32)))
            (memory (export "memory") 1) (data (i32.const 0) "{{}}")
            (func (export "__invoke") (param i32) (result i32) (call $ask {arguments})
              (call $respond (i32.const 0) (i32.const 2)) (i32.const 0)))"""
        ),
        runtime="funless",
        given=b'"input"',
    )
    assert done.error.kind in (ErrorKind.GUEST, ErrorKind.OUTPUT)
    assert "outside of the guest's memory" in done.error.message or done.error.kind is ErrorKind.OUTPUT
