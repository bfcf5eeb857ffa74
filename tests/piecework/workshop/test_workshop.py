"""New functions from templates, built, run and tested."""

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner
from patience import LONG_S, until

from piecework.cli.main import main
from piecework.local import ChildProgram
from piecework.testing import run_guest
from piecework.workshop import ENDINGS, HTTP_FILES, BuildFailed, WorkshopError, build, create, find_build_line

PLUGIN = "piecework.testing.plugin"
HERE = ("c", "js", "python")
"""Languages whose compilers and interpreters are Python packages."""


def run(*args, exit_code=0):
    ran = CliRunner().invoke(main, [str(arg) for arg in args], prog_name="piecework")
    assert ran.exit_code == exit_code, ran.output
    return ran


def check_tests(folder):
    """Run the tests of a new function."""
    is_known = any(each.value == PLUGIN for each in entry_points(group="pytest11"))
    plugin = [] if is_known else ["-p", PLUGIN]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, str(folder)]
    tested = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    assert (tested.returncode, "1 passed" in tested.stdout) == (0, True), tested.stdout


@pytest.mark.parametrize("language", ENDINGS)
def test_a_new_function_says_how_it_is_built(language, tmp_path):
    source, test = create(language, "my-function", tmp_path)
    assert sorted(tmp_path.rglob("*.*")) == sorted([source, test])
    line = find_build_line(source)
    assert (line is None) == (language in {"js", "lua", "python"})
    assert line is None or ("my-function.wasm" in line and source.name in line)
    assert "$" not in source.read_text().replace("${", "") + test.read_text()
    compile(test.read_text(), str(test), "exec")


@pytest.mark.integration
@pytest.mark.parametrize("language", HERE)
def test_a_new_function_runs_and_passes_its_test(language, tmp_path):
    ran = run("new", language, "shout", "--into", tmp_path)
    source = ran.stdout.split()[0]
    done = run("dev", "--once", "--text", "hello", source)
    assert (done.stdout, "exit code 0, 5 bytes, in " in done.stderr) == ("HELLO", True)
    assert ("built shout.wasm" in done.stderr) == (language == "c")
    check_tests(tmp_path / "shout")


@pytest.mark.parametrize("language", HTTP_FILES)
def test_a_new_function_for_http_says_how_it_is_built(language, tmp_path):
    source, test, *others = create(language, "my-function", tmp_path, http=True)
    assert [each.name for each in others] == ([] if language == "c" else ["http.wit"])
    line = find_build_line(source)
    assert source.with_suffix(".wasm").name in line
    assert all(each.name in line for each in others)
    assert "$" not in source.read_text() + test.read_text()
    compile(test.read_text(), str(test), "exec")


def test_a_new_function_for_http_is_of_a_language_that_has_one(tmp_path):
    assert "but in c, js, python" in run("new", "lua", "x", "--http", "--into", tmp_path, exit_code=2).stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.integration
def test_a_new_function_for_http_in_c_passes_its_test(tmp_path):
    made = run("new", "c", "shout", "--http", "--into", tmp_path)
    assert "next: piecework dev " in made.stderr
    check_tests(tmp_path / "shout")


@pytest.mark.parametrize(("name", "message"), [("1x", "is no name"), ("../x", "is no name"), ("taken", "already")])
def test_a_bad_name_writes_nothing(name, message, tmp_path):
    (tmp_path / "taken").mkdir()
    assert message in run("new", "c", name, "--into", tmp_path, exit_code=2).stderr
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]
    assert "is not one of" in run("new", "cobol", "x", exit_code=2).stderr.replace("'cobol' ", "")


def test_a_source_that_cannot_be_built_is_told(tmp_path):
    source = tmp_path / "x.zig"
    source.write_text("no line")
    with pytest.raises(WorkshopError, match="does not say how it is built"):
        build(source)
    assert "or give --build" in run("dev", source, exit_code=2).stderr
    source.write_text("// build: echo so sorry >&2; exit 3")
    with pytest.raises(BuildFailed, match=r"so sorry\n.* ended with exit code 3"):
        build(source)
    failed = run("dev", "--once", source, exit_code=1)
    assert "the build failed:\nso sorry" in failed.stderr
    with pytest.raises(BuildFailed, match=r"made no x\.wasm"):
        build(source, "true")


def test_bad_options_are_told(tmp_path):
    script = tmp_path / "x.py"
    script.write_text("")
    assert "exclude each other" in run("dev", "--text", "x", "--input", script, script, exit_code=2).stderr
    assert "without --input" in run("dev", "--handler", "http", "--text", "x", script, exit_code=2).stderr
    assert "NAME=VALUE" in run("dev", "--env", "x", script, exit_code=2).stderr
    assert "does not exist" in run("dev", tmp_path / "nowhere.c", exit_code=2).stderr


@pytest.mark.integration
def test_a_guests_exit_code_log_arguments_and_variables_are_its_own(tmp_path):
    script = tmp_path / "x.py"
    script.write_text(
        "import os, sys\nprint(sys.argv[1:], os.getenv('A'))\nsys.stderr.write('a log')\nsys.exit(4)"
    )
    ran = run("dev", "--once", "--runtime", "micropython", "--env", "A=b=c", script, "--x", "y", exit_code=4)
    assert ran.stdout == "['--x', 'y'] b=c\n"
    assert "a log\nexit code 4" in ran.stderr


@pytest.mark.integration
def test_a_change_builds_and_runs_again(tmp_path):
    source = tmp_path / "x.js"
    source.write_text("std.out.puts('first')")
    command = [sys.executable, "-m", "piecework", "dev", str(source)]
    with ChildProgram("dev", command, tmp_path / "log") as program:
        until(lambda: "first" in program.read_log() and "waiting for a change" in program.read_log(), LONG_S)
        part = tmp_path / "part"
        part.write_text("std.out.puts('second')")
        os.replace(part, source)  # noqa: PTH105  # as editors do
        until(lambda: "second" in program.read_log(), LONG_S)
        program.kill()
    assert run_guest(source).check() == b"second"


def ask(url, body):
    with urlopen(Request(url, body), timeout=LONG_S) as answer:
        return answer.read()


def change(source, old, new):
    """Write a source anew, as editors do."""
    part = source.parent / "part"
    part.write_text(source.read_text().replace(old, new))
    os.replace(part, source)  # noqa: PTH105  # as editors do


@pytest.mark.integration
def test_a_function_for_http_is_served_and_each_build_takes_the_place_of_the_one_before(tmp_path):
    run("new", "c", "shout", "--http", "--into", tmp_path)
    source = tmp_path / "shout" / "shout.c"
    command = [sys.executable, "-m", "piecework", "dev", str(source)]
    with ChildProgram("dev", command, tmp_path / "log") as program:
        url = program.wait_for_line(re.compile(r"serving on (http://127\.0\.0\.1:\d+)"), LONG_S)[1]
        assert f"requests go to {url}; waiting for a change" in program.read_log()
        assert ask(url, b"Hello") == b"HELLO"
        change(source, "toupper", "no_such_function")
        until(lambda: "the build failed" in program.read_log(), LONG_S)
        assert ask(url, b"Hello") == b"HELLO"
        change(source, "no_such_function", "tolower")
        until(lambda: ask(url, b"Hello") == b"hello", LONG_S)
        program.signal(signal.SIGINT)
        program.wait(LONG_S)
    with pytest.raises(OSError, match="refused"):
        ask(url, b"x")


@pytest.mark.integration
def test_any_function_can_be_served(tmp_path):
    script = tmp_path / "x.js"
    script.write_text("std.out.puts(std.getenv('REQUEST_METHOD') + std.getenv('A') + scriptArgs[1])")
    command = [sys.executable, "-m", "piecework", "dev", "--handler", "http", "--env", "A=b", str(script), "--c"]
    with ChildProgram("dev", command, tmp_path / "log") as program:
        url = program.wait_for_line(re.compile(r"serving on (http://127\.0\.0\.1:\d+)"), LONG_S)[1]
        assert ask(url, b"x") == b"POSTb--c"
        change(script, "std.out.puts(", "std.out.puts('new ' + ")
        until(lambda: ask(url, b"x") == b"new POSTb--c", LONG_S)
        program.kill()
    until(lambda: not answers(url), LONG_S)


def answers(url):
    try:
        return bool(ask(url, b"x"))
    except OSError:
        return False
