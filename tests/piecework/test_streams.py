"""Commands whose standard streams are closed, full, left by their readers, or of narrow encodings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from house import migrated_file

pytestmark = pytest.mark.integration

COMMANDS = {
    "help": ["piecework", "--help"],
    "tokens": ["piecework", "server", "token", "list", "--data", "DATA"],
    "inspect": ["piecework", "lambda", "inspect", str(Path(__file__).parents[2] / "samples/echo.wasm")],
    "runtimes": ["worker_agent", "runtimes", "--state", "DATA"],
}
each_command = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture
def run(tmp_path):
    """Run a command of the table, with its stdin, stdout or stderr as they are said to be."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/piecework.db").write_bytes(migrated_file())

    def run(command, environ=None, closed=None, **streams):
        words = COMMANDS[command] if isinstance(command, str) else command
        words = [str(tmp_path / "data") if word == "DATA" else word for word in words]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
        return subprocess.run(
            [sys.executable, "-m", *words],
            **streams,
            check=False,
            env=os.environ | (environ or {}),
            preexec_fn=None if closed is None else lambda: os.close(closed),
            timeout=120,
        )

    return run


@each_command
def test_a_full_output_ends_in_one_line(run, name):
    with Path("/dev/full").open("wb") as full:
        ran = run(name, stdout=full)
    program = COMMANDS[name][0].replace("_", "-")
    assert ran.stderr.decode() == f"{program}: standard output: No space left on device\n"
    assert ran.returncode == 1


@each_command
def test_a_closed_output_ends_in_one_line(run, name):
    ran = run(name, closed=1, stdout=None)
    assert ran.stderr.decode().endswith(": standard output: it is closed\n")
    assert ran.stderr.count(b"\n") == 1
    assert ran.returncode == 1


@each_command
def test_an_output_that_its_reader_left_ends_silently(run, name):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = run(name, stdout=writer)
    finally:
        os.close(writer)
    assert (ran.returncode, ran.stderr) == (1, b"")


@each_command
@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1"])
def test_a_narrow_encoding_ends_no_command(run, name, encoding):
    ran = run(name, {"PYTHONIOENCODING": encoding})
    assert (ran.returncode, ran.stderr) == (0, b"")


@each_command
def test_the_c_locale_ends_no_command(run, name):
    ran = run(name, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert (ran.returncode, ran.stderr) == (0, b"")


@each_command
def test_lost_errors_change_no_exit_code(run, name):
    with Path("/dev/full").open("wb") as full:
        assert run(name, stderr=full).returncode == 0
    assert run(name, closed=2, stderr=None).returncode == 0


@pytest.mark.parametrize("program", ["piecework", "worker_agent"])
def test_a_mistake_without_a_place_to_tell_it_keeps_its_exit_code(run, program):
    with Path("/dev/full").open("wb") as full:
        assert run([program, "no-such-command"], stderr=full).returncode == 2
    assert run([program, "no-such-command"], closed=2, stderr=None).returncode == 2


def test_a_closed_input_ends_in_one_line(run):
    ran = run(["piecework", "lambda", "inspect", "-"], closed=0, stdin=None)
    assert (ran.returncode, ran.stderr) == (1, b"piecework: standard input: it is closed\n")


def test_what_a_terminal_does_not_know_is_written_out(run, tmp_path):
    file = tmp_path / "naïve—.wasm"
    file.write_bytes(b"\0asm\1\0\0\0")
    ran = run(["piecework", "lambda", "inspect", str(file) + "x"], {"PYTHONIOENCODING": "latin-1"})
    assert b"na\xefve\\u2014.wasmx" in ran.stderr
    assert ran.stderr.count(b"\n") == 1


def test_a_word_that_is_no_text_is_refused_in_one_line(run, tmp_path):
    wasm = tmp_path / "a.wasm"
    wasm.write_bytes(b"\0asm\1\0\0\0")
    words = ["piecework", "--url", "http://127.0.0.1:9", "lambda", "create", "7", "--runtime", "wasi"]
    ran = run([*words, "--tag", os.fsencode("\udcff")])
    assert ran.stderr == (
        b"piecework: Invalid value for '--tag': the text has a byte that is not UTF-8; no text of a request can"
        b" have that. Try 'piecework lambda create --help'.\n"
    )
    assert ran.returncode == 2
