"""What the runtimes of scripts do beyond the list that all runtimes pass."""

import io
from pathlib import Path
from typing import Any

import pytest
from abis import SCRIPT_ABIS

from piecework.protocol.codes import ErrorKind
from piecework.worker_agent.runtimes.base import Bounds, Build, Call, CodeFile, LoadError
from piecework.worker_agent.runtimes.compiling.library import Library
from piecework.worker_agent.runtimes.scripting.interpreters import KNOWN
from piecework.worker_agent.runtimes.scripting.lacking import PYTHON_LACKS, list_python_modules
from piecework.worker_agent.runtimes.scripting.scripts import SCRIPT_BYTES, ScriptRuntime
from piecework.worker_agent.runtimes.stopping import StopSignal
from piecework.worker_agent.runtimes.streams import LogTail, OutputSpool

pytestmark = pytest.mark.integration
SAMPLES = Path(__file__).parents[4] / "samples" / "scripts"
every_script = pytest.mark.parametrize("runtime", SCRIPT_ABIS)

COMMAND = """(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "host.extra" "call" (func $extra (param i32 i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.ne (call $extra (i32.const 1) (i64.const 2)) (i32.const -1)) (then unreachable))
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $get (i32.const 100) (i32.const 1000)))
    (i32.store (i32.const 0) (i32.const 1000))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
"""An interpreter that prints its command line."""


@pytest.fixture
def run_sample(run, runtime, build_guest):
    return lambda name, **fields: run(build_guest(f"{runtime}/{name}"), runtime=runtime, **fields)


@every_script
def test_script_finds_its_arguments_and_environment(run_sample):
    done = run_sample("surroundings", args=("one two", "zwö"), env={"GREETING": "hello"})
    assert done.error is None
    assert done.output == "one two,zwö,hello".encode()


@every_script
def test_syntax_error_tells_its_line(run_sample):
    done = run_sample("broken")
    assert done.error.kind is ErrorKind.GUEST
    assert "(line 2)" in done.error.message or "script.lua:2:" in done.error.message
    assert done.error.trace == done.log.decode()


@every_script
def test_exit_code_is_told(run_sample):
    done = run_sample("leave")
    assert (done.error.kind, done.error.message, done.output.strip()) == (ErrorKind.GUEST, "exit code 3", b"kept")


@every_script
def test_nothing_of_the_node_can_be_reached_and_nothing_written(run_sample):
    done = run_sample("reach")
    assert (done.error, done.output) == (None, b"nothing")


@pytest.mark.parametrize(
    ("runtime", "script", "message"),
    [
        ("micropython", "import statistics", "'statistics' (line 1): the runtime python3.12 has it"),
        ("micropython", "import numpy", "'numpy' (line 1): there are no modules but MicroPython's own"),
        ("python3.12", "import numpy.linalg", "there are no modules but those of the standard library"),
        ("python3.12", "import ssl", "there are no modules but those of the standard library"),
        ("javascript", "require('fs')", "there are no modules of Node, only qjs:std and qjs:os"),
        ("javascript", "import fs from 'fs'", "there are no modules of Node, only qjs:std and qjs:os"),
        ("dlabLua", "require('socket')", "there are no modules but those of Lua itself"),
    ],
)
@pytest.mark.usefixtures("interpreters")
def test_module_that_is_missing_is_explained(run, runtime, script, message):
    assert message in run(script.encode(), runtime=runtime).error.message


def test_python_has_what_is_said_of_it(run):
    script = f"""
import importlib, io, sys
sys.stdout, kept = io.StringIO(), sys.stdout
def has(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
offered = [each for each in {list_python_modules()} if each not in ("antigravity", "this")]
sys.stdout, lacking = kept, [each for each in offered if not has(each)]
print(lacking, [each for each in {sorted(PYTHON_LACKS)} if has(each)])
"""
    done = run(script.encode(), runtime="python3.12", timeout_s=60.0)
    assert (done.error, done.output) == (None, b"[] []\n")


def test_micropython_has_random_numbers(run):
    script = b"import os, random; print(random.getrandbits(30), os.urandom(4))"
    first, again = (run(script, runtime="micropython", seed=b"x") for _ in range(2))
    assert first.error is None
    assert first.output == again.output != run(script, runtime="micropython").output


@every_script
def test_empty_script_does_nothing(run, runtime):
    done = run(b"", runtime=runtime)
    assert (done.error, done.output) == (None, b"")


@every_script
def test_script_that_is_no_text_ends_by_itself(run, runtime):
    done = run(bytes(range(128, 256)) * 8, runtime=runtime)
    assert done.error is None or done.error.kind is ErrorKind.GUEST


@every_script
def test_long_script_runs(run, runtime):
    line = b"globalThis.x = 1;\n" if runtime == "javascript" else b"x = 1;\n"
    assert run(line * 20_000, runtime=runtime, timeout_s=60.0).error is None


@every_script
def test_module_and_huge_script_are_refused(run, runtime, build_guest):
    done = run(build_guest("wasi/echo"), runtime=runtime)
    assert done.error.kind is ErrorKind.LOAD
    assert "this is a wasm binary" in done.error.message
    done = run(b" " * (SCRIPT_BYTES + 1), runtime=runtime)
    assert done.error.kind is ErrorKind.LOAD
    assert str(SCRIPT_BYTES) in done.error.message


def test_exception_in_a_callback_is_told(run, build_guest):
    done = run(build_guest("javascript/late"), runtime="javascript")
    assert done.error.message == "exit code 1: Error: too late (line 1)"


def test_promises_are_waited_for(run):
    script = b"await new Promise((done) => os.setTimeout(done, 5)); std.out.puts('kept')"
    assert run(script, runtime="javascript").output == b"kept"


@pytest.mark.parametrize("alias", ["dlabLua", "dlabLua54"])
def test_aliases_are_the_same_runtime(run, alias):
    assert run(b"io.write(_VERSION)", runtime=alias).output == b"Lua 5.4"


def test_micropython_with_little_memory_says_so(run):
    done = run(b"print(1)", runtime="micropython", memory_bytes=256 * 1024)
    assert done.error is not None
    assert run(b"print(1)", runtime="micropython", memory_bytes=2 * 1024 * 1024).output == b"1\n"


def test_interpreter_is_loaded_once_for_all_scripts(toolchain, store_code, interpreters):
    library = Library(toolchain, interpreters)
    programs: list[Any] = [library.load(name, CodeFile(*store_code(code)), Build()) for name, code in
                [("lua5.4", b"x = 1"), ("dlabLua", b"x = 2")]]  # fmt: skip
    assert programs[0]._machine is programs[1]._machine
    library.close()


def test_interpreter_of_the_operator_gets_its_command_line(toolchain, tmp_path, build_text, make_call_of):
    (tmp_path / "own.wasm").write_bytes(build_text(COMMAND))
    (tmp_path / "own.toml").write_text(
        'wasm = "own.wasm"\nargv = ["own", "--file={script}", "{args}", "end"]\nscript = "it.txt"\n'
        'aliases = ["mine"]\nstubs = {"host.extra.call" = "iI"}\n'
    )
    program, call = make_call_of(Library(toolchain, tmp_path), "mine", args=("a", "b c"))
    assert program.run(call).error is None
    assert call.output.finish() == b"own\0--file=it.txt\0a\0b c\0end\0"


def test_module_with_another_digest_is_not_run(toolchain, tmp_path, build_text, make_call_of):
    (tmp_path / "own.wasm").write_bytes(build_text(COMMAND.replace("unreachable", "nop")))
    (tmp_path / "own.toml").write_text(f'wasm = "own.wasm"\nargv = ["{{script}}"]\nsha256 = "{"0" * 64}"\n')
    with pytest.raises(LoadError, match=r"own\.wasm has other bytes"):
        make_call_of(Library(toolchain, tmp_path), "own")


def test_missing_interpreter_says_what_to_do(toolchain, store_code):
    lua = next(each for each in KNOWN if each.name == "lua5.4")
    with pytest.raises(LoadError, match=r"lacks the interpreter of lua5.4: worker-agent runtimes install lua5\.4"):
        ScriptRuntime(toolchain, lua).load(CodeFile(*store_code(b"x = 1")), Build())


@pytest.fixture
def make_call_of(store_code, tmp_path):
    """Return a function that loads an empty script, and makes a call for it."""

    def make(library, runtime, args=()):
        program = library.load(runtime, CodeFile(*store_code(b"")), Build())
        spool = OutputSpool(10_000, str(tmp_path / "out"))
        return program, Call(io.BytesIO(), spool, LogTail(1000), StopSignal(), Bounds(), args=args)

    return make


@pytest.mark.parametrize(
    ("name", "runtime", "given", "found"),
    [
        ("uppercase.lua", "lua5.4", "hello\ngrüße", "HELLO\nGRüßE"),
        ("uppercase.js", "javascript", "hello\ngrüße", "HELLO\nGRÜSSE"),
        ("uppercase.py", "python3.12", "hello\ngrüße", "HELLO\nGRÜSSE"),
        ("uppercase.py", "micropython", "hello\nall", "HELLO\nALL"),
        ("json_sum.lua", "lua5.4", " [1, 2.5, -4]\n", '{"sum": -0.5, "count": 3}\n'),
        ("json_sum.lua", "lua5.4", "[]", '{"sum": 0, "count": 0}\n'),
        ("json_sum.js", "javascript", " [1, 2.5, -4]\n", '{"sum":-0.5,"count":3}\n'),
        ("json_sum.py", "python3.12", " [1, 2.5, -4]\n", '{"sum": -0.5, "count": 3}\n'),
        ("json_sum.py", "micropython", " [1, 2.5, -4]\n", '{"sum": -0.5, "count": 3}\n'),
        ("word_count.lua", "lua5.4", "two words\n", "1 lines, 2 words, 10 bytes\n"),
    ],
)
def test_sample_scripts_do_what_they_say(run, name, runtime, given, found):
    done = run((SAMPLES / name).read_bytes(), runtime=runtime, given=given.encode())
    assert (done.error, done.output.decode()) == (None, found)


@pytest.mark.parametrize(
    ("name", "runtime"),
    [("json_sum.lua", "lua5.4"), ("json_sum.js", "javascript"), ("json_sum.py", "micropython")],
)
@pytest.mark.parametrize("given", [b"", b"{", b"[1,", b"[1, x]"])
def test_sample_scripts_refuse_what_is_no_list(run, name, runtime, given):
    done = run((SAMPLES / name).read_bytes(), runtime=runtime, given=given)
    assert done.error.kind is ErrorKind.GUEST
    assert done.output == b""
