"""`worker-agent exec` and `worker-agent serve`: what they refuse, and what runs once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_registry import FakeRegistry
from guest_texts import build, read_guest
from loading import loaded_by
from patience import LONG_S, until
from screens import Screen
from web_host import WebHost

from piecework.worker_agent.cli import worker_commands

SAMPLES = Path(__file__).parents[3] / "samples"
COMMAND = [sys.executable, "-P", "-c", "from piecework.worker_agent.cli import main; main()"]


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Return a function that runs a command which does nothing, and returns its exit code and complaint."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PIECEWORK_SERVE_TOKEN", raising=False)

    def run(*args):
        done = CliRunner().invoke(worker_commands, [str(arg) for arg in args])
        return done.exit_code, done.output

    return run


@pytest.fixture
def execute(tmp_path):
    """Return a function that runs `worker-agent exec` as a process of its own."""

    def run(*args, given=b"", environ=(), stdout=subprocess.PIPE, pass_fds=()):
        return subprocess.run(
            [*COMMAND, "exec", "--state", str(tmp_path / "state"), *map(str, args)],
            input=given,
            stdout=stdout,
            pass_fds=pass_fds,
            stderr=subprocess.PIPE,
            timeout=3 * LONG_S,  # it may have to compile an interpreter
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **dict(environ)},
        )

    return run


@pytest.fixture
def web():
    host = WebHost()
    yield host
    host.close()


@pytest.mark.parametrize("command", ["exec", "serve"])
@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (None, "No such file"),
        (b"<!DOCTYPE html><p>Not found", "is an HTML page, not a wasm module"),
        (b"", "is empty, not a wasm module"),
        (b"print('hi')", "for a script, name the runtime: lua5.4, javascript, python3.12 or micropython"),
        (b"\x7fELF\2\1\1\0" + bytes(8) + b"\2\0", "an ELF program for Linux, not a wasm module: compile"),
        (b"\0asm\1\0\0\0\xff\xff", "cannot run"),
        (build("(module)"), "no runtime recognises the module"),
        (build(read_guest("wasi/unknown_import")), "'summon'"),
    ],
)
def test_code_that_cannot_run_is_refused_with_the_reason(refused, tmp_path, command, code, hint):
    file = tmp_path / "f.wasm"
    if code is not None:
        file.write_bytes(code)
    exit_code, output = refused(command, file)
    assert exit_code == 1
    assert hint in output
    assert len(output.splitlines()) == 1


def test_module_for_another_runtime_is_refused(refused):
    exit_code, output = refused("exec", "--runtime", "capsule", SAMPLES / "echo.wasm")
    assert exit_code == 1
    assert "callHandle" in output


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--env", "NAME"], "is not NAME=VALUE"),
        (["--env", "=x"], "is no name of a variable"),
        (["--timeout", "0"], "--timeout"),
        (["--memory", "x"], "--memory"),
        (["--allow-http", "http://a.test"], "is no host"),
        (["--allow-dir", "/nowhere/at/all"], "is no directory"),
        (["--allow-env", "NOT_SET_AT_ALL"], "NOT_SET_AT_ALL is not set"),
        (["--handler", "xml"], "--handler"),
        (["--hander", "json"], "Did you mean '--handler'? Try 'worker-agent"),
    ],
)
@pytest.mark.parametrize("command", ["exec", "serve"])
def test_wrong_options_are_refused(refused, command, options, hint):
    exit_code, output = refused(command, *options, SAMPLES / "echo.wasm")
    assert exit_code == 2
    assert output.startswith("worker-agent: ")
    assert "Usage:" not in output
    assert hint in " ".join(output.split())


def test_directory_that_cannot_be_made_is_named(refused, tmp_path):
    (tmp_path / "file").touch()
    exit_code, output = refused("exec", "--state", tmp_path / "file" / "state", SAMPLES / "echo.wasm")
    assert (exit_code, output) == (1, f"worker-agent: {tmp_path}/file/state/compiled: Not a directory\n")


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--host", "0.0.0.0"], "anybody could call this function"),
        (["--host", "192.0.2.7"], "anybody could call this function"),
        (["--crt", __file__], "--crt and --key belong together"),
        (["--crt", __file__, "--key", __file__], "are no certificate and its key"),
    ],
)
def test_door_that_is_open_by_mistake_is_refused(refused, options, hint):
    exit_code, output = refused("serve", SAMPLES / "echo.wasm", *options)
    assert exit_code == 2
    assert hint in " ".join(output.split())


def test_name_that_leads_to_no_address_is_refused(refused):
    exit_code, output = refused("serve", SAMPLES / "echo.wasm", "--host", "nowhere.invalid")
    assert exit_code == 1
    assert output.startswith("worker-agent: cannot listen on 'nowhere.invalid', which leads to no address: ")
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize("text", ["[]", '{"A": 1}', "{", '{"A": "\\u0000"}'])
def test_file_of_variables_that_has_none_is_refused(refused, tmp_path, text):
    file = tmp_path / "env.json"
    file.write_text(text)
    exit_code, _ = refused("exec", "--env-file", file, SAMPLES / "echo.wasm")
    assert exit_code == 2


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("ftp://a.test/f.wasm", "must begin with http:// or https://"),
        ("file:///etc/passwd", "must begin with http:// or https://"),
        ("/f.wasm", "must begin with http:// or https://"),
    ],
)
def test_url_that_is_not_http_is_refused(refused, tmp_path, url, hint):
    exit_code, output = refused("exec", "--url", url, tmp_path / "f.wasm")
    assert exit_code == 1
    assert hint in output


def test_download_that_is_no_module_leaves_the_file_as_it_was(refused, web, tmp_path):
    file = tmp_path / "f.wasm"
    file.write_bytes(b"the old one")
    web.pages = {"/page": b"<html>Sign in", "/gone": (404, {}, b""), "/none": b""}
    for path, hint in (("/page", "an HTML page"), ("/gone", "404"), ("/none", "no wasm module")):
        exit_code, output = refused("exec", "--url", web.url + path, file)
        assert (exit_code, hint in output) == (1, True)
    assert [path.name for path in tmp_path.glob("*f.wasm*")] == ["f.wasm"]
    assert file.read_bytes() == b"the old one"


def test_download_that_fails_leaves_no_folder(refused, web, tmp_path):
    web.pages = {"/none": b""}
    (tmp_path / "kept").mkdir()
    assert refused("exec", "--url", f"{web.url}/none", tmp_path / "kept" / "new" / "newer" / "f.wasm")[0] == 1
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.integration
def test_download_then_run(execute, web, tmp_path):
    web.pages = {"/hello": (SAMPLES / "capsule_g3.wasm").read_bytes()}
    done = execute("--url", f"{web.url}/hello", tmp_path / "f.wasm", "log hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hi\nlogged\n", b"")
    assert (tmp_path / "f.wasm").read_bytes() == web.pages["/hello"]


@pytest.mark.integration
def test_function_of_texts_shows_its_log_before_its_answer(execute):
    done = execute(SAMPLES / "capsule_g2.wasm", "log one", "two")
    assert done.stdout.decode() == "one²two\nlogged\n"
    done = execute(SAMPLES / "capsule_g3.wasm", given=b"ping from a pipe")
    assert done.stdout.decode() == "🏓 pong: from a pipe : 1\n"


@pytest.mark.integration
def test_function_that_fails_ends_with_1_and_a_line(execute):
    done = execute(SAMPLES / "capsule_g3.wasm", "dance")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"worker-agent: there is no such command (7)\n")
    done = execute(SAMPLES / "crash.wasm", "unreachable")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == b"worker-agent: trap: wasm `unreachable` instruction executed"


@pytest.mark.integration
def test_limits_hold(execute):
    done = execute("--timeout", "0.2", SAMPLES / "loop_forever.wasm")
    complaint = b"worker-agent: timeout: it ran longer than its limit of 0.2 s: --timeout raises it\n"
    assert (done.returncode, done.stderr) == (1, complaint)
    done = execute("--memory", "16", SAMPLES / "eat_memory.wasm")
    assert done.stderr.startswith(b"worker-agent: load: it needs 17 MB, limit 16 MB")
    done = execute("--memory", "24", SAMPLES / "eat_memory.wasm")
    assert b"more memory than its limit" in done.stderr
    done = execute("--stack", "2", SAMPLES / "crash.wasm", "stack")
    assert done.stderr.splitlines()[-1] == b"worker-agent: trap: call stack exhausted: --stack raises it"


@pytest.mark.integration
def test_command_reads_standard_input_and_has_two_outputs(execute):
    given = bytes(range(256)) * 10_000
    assert execute(SAMPLES / "echo.wasm", given=given).stdout == given
    done = execute(SAMPLES / "exit_with_code.wasm", "3", given=b"x")
    assert (done.returncode, done.stdout) == (3, b"x")
    done = execute(SAMPLES / "count_slowly.wasm", environ={}, given=b"")
    assert done.returncode == 0
    assert b"tick" in done.stderr
    assert b"tick" not in done.stdout


@pytest.mark.integration
def test_terminal_obeys_nothing_that_a_function_answers(execute):
    answer = b"\x1b[31mred\x9b\xff" + b"more" * 1_000_000 + b"\r\n"
    with Screen() as screen:
        assert execute(SAMPLES / "echo.wasm", given=answer, stdout=screen.file).returncode == 0
        assert screen.read() == r"\x1b[31mred\x9b\xff" + "more" * 1_000_000 + "\r\n"
    assert execute(SAMPLES / "echo.wasm", given=answer).stdout == answer


def test_terminal_obeys_nothing_in_a_message(refused, tmp_path):
    (tmp_path / "code.wasm").write_bytes(build(r'(module (func (export "\1b]0;owned\07")))'))
    _, complaint = refused("exec", tmp_path / "code.wasm")
    assert r"it exports \x1b]0;owned\x07" in complaint


@pytest.mark.integration
def test_function_may_come_out_of_a_pipe(execute):
    code = subprocess.Popen(["/bin/cat", SAMPLES / "echo.wasm"], stdout=subprocess.PIPE)
    with code:
        done = execute(f"/dev/fd/{code.stdout.fileno()}", given=b"x", pass_fds=[code.stdout.fileno()])
    assert (done.returncode, done.stdout) == (0, b"x")


@pytest.mark.integration
def test_input_that_never_ends_is_told(tmp_path):
    command = [*COMMAND, "exec", "--state", str(tmp_path / "state"), str(SAMPLES / "capsule_g3.wasm")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, **pipes) as waiting:
        assert b"waiting for the end of standard input" in waiting.stderr.readline()
        assert waiting.communicate(b"ping late", timeout=LONG_S)[0].decode() == "🏓 pong: late : 1\n"


def test_runtime_that_this_node_has_not_is_refused(refused):
    exit_code, output = refused("exec", "--runtime", "pyton", SAMPLES / "echo.wasm")
    assert (exit_code, output.count("\n")) == (2, 1)
    assert "there is no runtime 'pyton': did you mean python3.12? There are capsule" in output


@pytest.mark.integration
def test_json_for_functions_of_funless(execute, tmp_path):
    file = tmp_path / "echo.wasm"
    file.write_bytes(build(read_guest("funless/echo")))
    assert json.loads(execute(file, '{"a": [1]}').stdout) == {"a": [1]}
    assert json.loads(execute(file, given=b"[2]").stdout) == [2]
    assert execute(file, "no json").returncode == 1


@pytest.mark.integration
def test_script_is_run_by_its_name(execute, tmp_path):
    file = tmp_path / "hello.js"
    file.write_text('import { out } from "qjs:std"; out.puts(`hello ${scriptArgs[1]}\\n`);')
    assert execute(file, "Zoe").stdout == b"hello Zoe\n"


@pytest.mark.integration
def test_variables_and_files_are_those_that_are_allowed(execute, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "about.txt").write_text("about this")
    secret = tmp_path / "env.json"
    secret.write_text('{"TOKEN": "from a file"}')
    g3 = SAMPLES / "capsule_g3.wasm"
    assert execute("--env", "NAME=value", g3, "env NAME").stdout == b"value\n"
    assert execute("--env-file", secret, g3, "env TOKEN").stdout == b"from a file\n"
    environ = {"COLOUR": "blue"}
    assert execute("--allow-env", "COLOUR", g3, "env COLOUR", environ=environ).stdout == b"blue\n"
    denied = execute(g3, "env COLOUR", environ=environ)
    assert b"COLOUR is empty" in denied.stderr
    assert b"--env COLOUR=VALUE or --allow-env COLOUR would give one" in denied.stdout + denied.stderr
    assert execute("--allow-files", tmp_path / "files", g3, "read about.txt").stdout == b"about this\n"
    assert execute(g3, "read about.txt").returncode == 1


@pytest.mark.integration
def test_keys_and_values_are_kept_while_it_runs(execute):
    counter = Path(__file__).parents[3] / "samples" / "count_up.wasm"
    for options, answer in ((["--allow-kv", "n:rw"], (0, b"1\n")), ([], (1, b""))):
        ran = execute(*options, counter)
        assert (ran.returncode, ran.stdout) == answer
    assert ran.stderr.startswith(
        b"kv_add denied: nothing allows a namespace without a name; --allow-kv NAME:rw would"
    )


@pytest.mark.integration
def test_host_is_reached_when_it_is_allowed(execute, web):
    web.pages = {"/": b"welcome"}
    port = web.url.rpartition(":")[2]
    fetch = f"fetch GET http://localhost:{port}/"
    assert execute("--allow-http", f"localhost:{port}", SAMPLES / "capsule_g3.wasm", fetch).stdout == b"welcome\n"
    denied = execute(SAMPLES / "capsule_g3.wasm", fetch).stderr
    assert f"nothing allows HTTP to localhost:{port}; --allow-http localhost:{port} would".encode() in denied


@pytest.mark.integration
def test_seed_makes_runs_the_same(execute, tmp_path):
    file = tmp_path / "tell.wasm"
    file.write_bytes(build(read_guest("wasi/tell")))
    first, second = (execute("--seed", "a", file).stdout for _ in range(2))
    assert first == second != execute("--seed", "b", file).stdout


@pytest.mark.integration
def test_commands_that_need_no_agent_do_not_load_one():
    unused = {"piecework.client", "piecework.worker_agent.agent", "http.client", "ssl", "importlib.metadata"}
    assert loaded_by("piecework.worker_agent.cli") & unused == set()


@pytest.mark.parametrize("token", ["secret", ""])
def test_served_function_asks_for_the_token_of_the_environment(refused, monkeypatch, tmp_path, token):
    plans = []
    monkeypatch.setattr("piecework.worker_agent.serving.server.serve", lambda plan, *_: plans.append(plan))
    monkeypatch.setenv("PIECEWORK_SERVE_TOKEN", token)
    assert refused("serve", SAMPLES / "capsule_g3.wasm", "--state", tmp_path / "state", "--port", 0) == (0, "")
    assert [plan.options.token for plan in plans] == [token or None]


@pytest.mark.parametrize(
    ("command", "words", "option"),
    [
        ("serve", [SAMPLES / "echo.wasm", "a\udcff"], "args[0]"),
        ("serve", ["--env", "A=\udcff", SAMPLES / "echo.wasm"], "--env[0]"),
        ("exec", ["--allow-files", "a\udcff", SAMPLES / "echo.wasm"], "--allow-files"),
        ("exec", ["--state", "a\udcff", SAMPLES / "echo.wasm"], "state"),
    ],
)
def test_words_that_are_no_text_are_mistakes(refused, command, words, option):
    exit_code, output = refused(command, *words)
    assert exit_code == 2
    assert f"{option} has a byte that is not UTF-8" in output


def test_a_seed_that_is_no_text_is_a_mistake(refused):
    exit_code, output = refused("exec", "--seed", "a\udcff", SAMPLES / "echo.wasm")
    assert (exit_code, output.splitlines()[0][:45]) == (2, "worker-agent: --seed has a byte that is not U")


@pytest.mark.integration
def test_words_after_the_file_are_the_guests_own(execute, tmp_path):
    file = tmp_path / "tell.wasm"
    file.write_bytes(build(read_guest("wasi/tell_args")))
    words = [b"-p", b"--timeout", b"\xff", b"--", b"--help"]
    done = execute("--env", b"A=\xfe".decode(errors="surrogateescape"), file, *map(os.fsdecode, words))
    assert done.stdout == b"tell.wasm\0" + b"".join(word + b"\0" for word in words) + b"A=\xfe\0"
    assert execute(file, "--", "-x").stdout == b"tell.wasm\0-x\0"
    refused = execute(SAMPLES / "capsule_g3.wasm", os.fsdecode(b"\xff"))
    assert (refused.returncode, b"takes UTF-8 only" in refused.stderr) == (1, True)


@pytest.mark.integration
def test_log_arrives_whole_and_as_it_is(execute, tmp_path):
    file = tmp_path / "chat.wasm"
    file.write_bytes(build(read_guest("wasi/log_lines")))
    done = execute(file)
    assert done.stderr == b"".join(b"line %06d\n" % number for number in range(200_000)) + b"no end"


@pytest.fixture
def start(tmp_path):
    """Return a function that starts `worker-agent exec` and does not wait for it."""

    def run(*args, **pipes):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | pipes
        command = [*COMMAND, "exec", "--state", str(tmp_path / "state"), *map(str, args)]
        (tmp_path / "temporary").mkdir()
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path / "temporary")}
        return subprocess.Popen(["env", "--default-signal=HUP,INT", *command], env=env, **pipes)

    return run


@pytest.mark.integration
def test_answer_comes_before_the_input_ends(start):
    with start(SAMPLES / "echo.wasm") as running:
        for word in (b"one\n", b"two\n"):
            running.stdin.write(word)
            running.stdin.flush()
            assert running.stdout.readline() == word
        running.stdin.close()
        assert running.wait(LONG_S) == 0


@pytest.mark.integration
def test_end_of_who_reads_is_the_end(start):
    with start(SAMPLES / "print_forever.wasm") as running:
        assert running.stdout.read(10) == b"a line of "
        running.stdout.close()
        assert (running.wait(LONG_S), running.stderr.read()) == (141, b"")


@pytest.mark.integration
def test_interrupt_ends_it_with_130(start):
    with start(SAMPLES / "count_slowly.wasm", "100", "10") as running:
        assert b"tick" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(LONG_S) == 130
        assert running.stderr.read().splitlines()[-1] == b"worker-agent: interrupted"


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_leaves_no_folder(start, tmp_path, number):
    with start(SAMPLES / "count_slowly.wasm", "100", "10") as running:
        assert b"tick" in running.stderr.readline()
        assert [each.name[:15] for each in (tmp_path / "temporary").iterdir()] == ["piecework-exec-"]
        running.send_signal(number)
        assert running.wait(LONG_S) == (130 if number == signal.SIGINT else -number)
        assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.integration
def test_guests_temporary_files_are_where_ours_are(start, tmp_path):
    """And go with it, however it ends."""
    with start(SAMPLES / "copy_file.wasm", "/dev/stdin", "/tmp/copy") as running:
        until(lambda: list((tmp_path / "temporary").glob("piecework-exec-*/piecework-guest-*/*/copy")))
        running.send_signal(signal.SIGTERM)
        assert running.wait(LONG_S) == -signal.SIGTERM
        assert list((tmp_path / "temporary").iterdir()) == []


@pytest.fixture
def registry():
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.mark.slow
def test_module_of_an_oci_registry_is_run(execute, registry, tmp_path):
    stored = registry.put_module("1", registry.put_blob((SAMPLES / "echo.wasm").read_bytes()))
    name = f"oci://{registry.host}/team/echo:1"
    environ = {"TMPDIR": str(tmp_path)}
    done = execute("--plain-http", name, "more", given=b"to and fro", environ=environ)
    assert (done.returncode, done.stdout) == (0, b"to and fro"), done.stderr
    assert done.stderr.decode() == f"worker-agent: pulled {name}@{stored['digest']}\n"
    assert list(tmp_path.glob("piecework-*")) == [], "nothing of it stays"


def test_what_cannot_be_pulled_is_one_line(refused):
    code, message = refused("exec", "oci://127.0.0.1:9/echo:1")
    assert (code, message.count("\n")) == (1, 1)
    assert "oci://127.0.0.1:9/echo:1: 127.0.0.1:9 does not answer" in message
    assert "is not oci://HOST" in refused("serve", "oci://")[1]
    assert "--url puts a module into a file" in refused("exec", "--url", "http://127.0.0.1:9/", "oci://h/n")[1]
