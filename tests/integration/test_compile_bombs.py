"""Small modules that take much time or memory to compile: each costs its own job at most; the next one runs."""

import hashlib
import queue

import pytest
from guests import guest
from mutations import encode_number, join_sections
from served import ServedFunction

from piecework.local import ProgramError
from piecework.protocol.codes import ErrorKind
from piecework.testing import run_guest
from piecework.worker_agent.guests.executor import Executor
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.tasks import LeasedTask, Task

pytestmark = pytest.mark.integration

HEADER = b"\0asm\x01\0\0\0"
PATIENCE_S = 120
BLOCK, IF, END, BR_TABLE, CALL, ZERO, DROP = (
    b"\x02\x40",
    b"\x04\x40",
    b"\x0b",
    b"\x0e",
    b"\x10",
    b"\x41\0",
    b"\x1a",
)

EATS_MEMORY = [(CALL + b"\x01") * 3_000_000, b""]


def make_module(*bodies):
    """Return a command with these functions, none of which takes or gives anything; the first is its entry."""
    count = encode_number(len(bodies))
    functions = [b"\0" + body + END for body in bodies]
    sections = [
        (1, b"\x01\x60\0\0"),
        (3, count + b"\0" * len(bodies)),
        (7, b"\x01\x06_start\0\0"),
        (10, count + b"".join(encode_number(len(each)) + each for each in functions)),
    ]
    return join_sections(sections, HEADER)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that runs a module in a guest process and returns its result."""
    folder, results = tmp_path_factory.mktemp("bombs"), queue.Queue()
    executor = Executor(slots=1, scratch=folder / "scratch", compiled=folder / "compiled", on_done=results.put)
    executor.start()

    def run_code(code):
        checksum = hashlib.sha256(code).hexdigest()
        path = folder / checksum
        path.write_bytes(code)
        bounds = Bounds(timeout_s=5.0, memory_bytes=1 << 26, output_bytes=1000, log_bytes=1000)
        executor.submit(LeasedTask(1, "", Task(runtime="wasi", codex=str(path), checksum=checksum, bounds=bounds)))
        [(_, result)] = results.get(timeout=PATIENCE_S)
        return result

    yield run_code
    executor.stop(5)


@pytest.mark.parametrize(
    "bodies",
    [
        [BLOCK * 100_000 + END * 100_000],
        [(ZERO + IF) * 100_000 + END * 100_000],
        [b""] * 50_000,
        [(BLOCK + ZERO + BR_TABLE + encode_number(65_000) + b"\0" * 65_001 + END) * 50],
        [b"\xfd\x0c" + b"\1" * 16 + (b"\xfd\x0c" + b"\1" * 16) * 100_000 + DROP * 100_001],
    ],
    ids=["nested blocks", "nested ifs", "functions", "large jump tables", "deep stack of vectors"],
)
def test_odd_module_compiles_in_bounds(run, bodies):
    assert run(make_module(*bodies)).error is None


def test_jump_table_without_end_is_refused(run):
    result = run(make_module(BLOCK + ZERO + BR_TABLE + encode_number(1_000_000) + b"\0" * 1_000_001 + END))
    assert result.error.kind is ErrorKind.LOAD
    assert "br_table" in result.error.message


def test_module_that_eats_memory_when_it_is_compiled_costs_its_own_job_only(run):
    bomb = make_module(*EATS_MEMORY)
    for said in ("takes more memory to compile than a node has for that", "this node knows that from before"):
        result = run(bomb)
        assert result.error.kind is ErrorKind.LOAD
        assert said in result.error.message
    assert run(guest("echo")).error is None


def test_function_that_cannot_be_compiled_is_not_served_and_soon_refused(tmp_path):
    file = tmp_path / "bomb.wasm"
    file.write_bytes(make_module(*EATS_MEMORY))
    for said in ("takes more memory to compile than a node has for that", "this node knows that from before"):
        with pytest.raises(ProgramError, match=said):
            ServedFunction(tmp_path, file, "--processes", "1")


def test_whoever_runs_code_by_hand_says_how_much_memory_compiling_it_takes(tmp_path):
    file = tmp_path / "large.wasm"
    file.write_bytes(make_module(*[(BLOCK + ZERO + BR_TABLE + encode_number(65_000) + b"\0" * 65_001 + END) * 50]))
    state = ["--state", str(tmp_path / "state")]
    refused = run_guest(file, options=[*state, "--compile-memory", "64"])
    assert "takes more memory to compile than a node has for that (--compile-memory)" in refused.log
    assert run_guest(file, options=[*state, "--compile-memory", "3000"]).exit_code == 0
