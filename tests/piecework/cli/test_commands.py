import hashlib
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from piecework import __version__
from piecework.cli.main import COMMANDS, main
from piecework.client import ServerUnreachable
from piecework.protocol.messages import ErrorReply, JobLog, MessageReply, WorkerRegister
from piecework.protocol.states import JobState

SAMPLES = Path(__file__).parents[3] / "samples"
ECHO = SAMPLES / "echo.wasm"


def test_ping_tells_who_answered(run, server_url):
    out = run("ping").out
    assert f"from {server_url}, version {__version__}, in " in out
    document = run("ping", "--json").document
    assert document["url"] == server_url
    assert document["version"] == __version__
    assert document["round_trip_s"] > 0


def test_ping_tells_which_of_several_answered(run, server_url):
    assert f"from {server_url}, version" in run("ping", url=f"http://127.0.0.1:9,{server_url}").out
    assert "is not the URL of a server" in run("ping", url=f"{server_url},nowhere", exit_code=2).err


def test_ping_needs_no_token_and_says_so(run, script):
    script.answer(ErrorReply(code=4, message="this request needs a token"), status=401)
    script.answer(MessageReply(message="pong"))
    line = run("ping", url=script.url).out
    assert line.startswith(f"pong from {script.url}, in ")
    assert line.endswith("; for more, it wants a token (--token or PIECEWORK_TOKEN)\n")


def test_ping_tells_what_a_token_is_too_small_for(run, script):
    script.answer(ErrorReply(code=5, message="the token x has scope invoke"), status=403)
    script.answer(MessageReply(message="pong"))
    document = run("ping", "--json", "--token", "abc", url=script.url).document
    assert (document["message"], document["version"]) == ("pong", None)
    assert document["refused"] == "the token x has scope invoke"


def test_a_variable_that_nobody_reads_is_told_and_stops_nothing(run, monkeypatch):
    monkeypatch.setenv("PIECEWORK_TOKN", "pw_x")
    ran = run("ping", "--json")
    assert ran.document["message"] == "pong"
    assert ran.err == "piecework: PIECEWORK_TOKN is no variable of Piecework: did you mean PIECEWORK_TOKEN?\n"


def test_the_url_may_stand_before_or_after_the_command(run, server_url):
    dead = "http://127.0.0.1:1"
    assert run("--url", server_url, "ping", url=dead).out
    assert run("ping", "--url", server_url, url=dead).out


def test_a_server_that_does_not_answer_is_one_line_with_a_way_out(run):
    ran = run("ping", url="http://127.0.0.1:1", exit_code=1)
    assert ran.err == (
        "piecework: no answer from http://127.0.0.1:1: connection refused. "
        "Start a server with 'piecework server run', or name one with --url or PIECEWORK_URL.\n"
    )


def test_a_dead_proxy_is_blamed_and_not_the_server(run, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("http_proxy", raising=False)
    ran = run("ping", url="http://queue.invalid", exit_code=1)
    assert ran.err == (
        "piecework: no answer from http://queue.invalid: the proxy http://127.0.0.1:1 (HTTP_PROXY names it) does "
        "not answer: connection refused. Name another proxy in that variable, or this server's host in NO_PROXY.\n"
    )


@pytest.mark.parametrize("place", ["before", "behind"])
def test_certificates_to_trust_can_be_given_to_every_command(run, tmp_path, place):
    empty = tmp_path / "empty.pem"
    empty.touch()
    args = ["--ca", empty, "ping"] if place == "before" else ["ping", "--ca", empty]
    ran = run(*args, url="https://127.0.0.1:1", exit_code=2)
    assert f"--ca names {empty}, which cannot be used: it has no certificates." in ran.err


def test_a_url_that_is_none_is_a_mistake(run):
    assert "'localhost' is not the URL of a server" in run("ping", "--url", "localhost", exit_code=2).err


def test_a_token_is_sent_and_a_refusal_says_how_to_give_one(run, script):
    script.answer(ErrorReply(code=4, message="no valid token"), status=401)
    ran = run("ping", "--token", "abc", url=script.url, exit_code=1)
    assert script.seen[0].headers["Authorization"] == "Bearer abc"
    assert ran.err == (
        "piecework: no valid token. Give a token that may do this with --token or PIECEWORK_TOKEN.\n"
    )


def test_an_unknown_command_is_a_mistake_with_a_hint(run):
    assert "Did you mean 'ping'?" in run("pingg", exit_code=2).err


def test_the_help_of_each_command_in_the_list_is_that_of_the_command():
    for name, (target, short_help) in COMMANDS.items():
        lazy: Any = main.commands[name]
        command = lazy.load()
        assert command.help.splitlines()[0].removesuffix(".") == short_help.removesuffix("."), target


def test_help_lists_the_commands_in_our_order(run):
    out = run("--help").out
    places = [out.index(short_help.split(",")[0]) for _, short_help in COMMANDS.values()]
    assert places == sorted(places)


@pytest.mark.integration
def test_help_and_version_load_neither_client_nor_server():
    code = (
        "import sys; from piecework.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print({'requests', 'flask', 'wasmtime', 'sqlalchemy'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Print a script" in ran.stdout
    assert ran.stdout.endswith("set()\n")


@pytest.mark.parametrize("library", ["flask", "wasmtime"])
def test_a_missing_extra_is_named(run, monkeypatch, library):
    def missing(self):
        raise ModuleNotFoundError(f"No module named {library!r}", name=f"{library}.app")

    monkeypatch.setattr("piecework.cli.groups.LazyCommand.load", missing)
    extra = {"flask": "server", "wasmtime": "worker"}[library]
    ran = run("ping", exit_code=1)
    assert ran.err == f"piecework: {library}.app is not installed: run pip install 'piecework[{extra}]'\n"


def test_a_bug_keeps_its_traceback(run, monkeypatch):
    def broken(self):
        raise ZeroDivisionError("bug")

    monkeypatch.setattr("piecework.cli.groups.LazyCommand.load", broken)
    with pytest.raises(ZeroDivisionError):
        run("ping")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(run, shell):
    assert "_PIECEWORK_COMPLETE" in run("completion", shell).out


@pytest.mark.integration
def test_completion_knows_the_commands_of_a_group(run, server_url):
    env = os.environ | {"_PIECEWORK_COMPLETE": "bash_complete", "COMP_WORDS": "piecework job s", "COMP_CWORD": "2"}
    code = "from piecework.cli.main import main; main(prog_name='piecework')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert ran.stdout.split() == ["plain,show", "plain,submit"]


def test_run_prints_the_output_and_passes_the_log_on(run, worker):
    ran = run("run", ECHO, "--input", "-", given=b"hello")
    assert ran.out == "HELLO"
    ran = run("run", ECHO, "--arg", "log", "--arg", "a line\n")
    assert (ran.out, ran.err) == ("", "a line\n")


def test_run_passes_arguments_environment_limits_and_runtime(run, client, worker):
    assert run("run", ECHO, "--arg", "env", "--env", "A=1", "--timeout", 5, "--memory", 64).out == "A=1"
    info = client.job(next(client.jobs(limit=1)).id)
    limits = (info.limits.timeout_s, info.limits.memory_bytes)
    assert (info.lambda_.runtime, limits) == ("wasi", (5, 64 * 1024 * 1024))


def test_run_writes_the_output_to_a_file(run, worker, tmp_path):
    (tmp_path / "in").write_bytes(b"hello")
    assert run("run", ECHO, "--input", tmp_path / "in", "-o", tmp_path / "out").out == ""
    assert (tmp_path / "out").read_bytes() == b"HELLO"


def test_run_of_a_job_that_fails_ends_with_1_and_the_reason(run, worker):
    ran = run("run", ECHO, "--arg", "fail", "--arg", "exit code 3", exit_code=1)
    assert "failed (guest): exit code 3." in ran.err
    assert ran.out == ""


def test_run_of_a_file_that_is_no_wasm_is_refused(run, tmp_path):
    (tmp_path / "text.wasm").write_text("hello")
    ran = run("run", tmp_path / "text.wasm", exit_code=1)
    assert ran.err.startswith("piecework: ")
    assert "Traceback" not in ran.err
    assert "does not exist" in run("run", tmp_path / "none.wasm", exit_code=2).err


def test_run_interrupted_cancels_the_job(run, client, monkeypatch):
    def interrupt(self, job):
        raise KeyboardInterrupt

    monkeypatch.setattr("piecework.client.Client.follow_log", interrupt)
    ran = run("run", SAMPLES / "capsule_g4.wasm", "--runtime", "capsule+redis", exit_code=130)
    [info] = client.jobs(limit=1)
    assert ran.err.endswith(f"piecework: interrupted; job {info.id} was cancelled\n")
    assert info.state == "Cancelled"


def test_an_unreachable_server_does_not_hide_the_interruption(run, monkeypatch):
    def interrupt(self, job):
        raise KeyboardInterrupt

    def unreachable(self, job):
        raise ServerUnreachable("http://x", "gone")

    monkeypatch.setattr("piecework.client.Client.follow_log", interrupt)
    monkeypatch.setattr("piecework.client.Client.cancel", unreachable)
    ran = run("run", SAMPLES / "capsule_g4.wasm", "--runtime", "capsule+redis", exit_code=130)
    assert "was not cancelled: no answer from http://x: gone" in ran.err


def test_one_file_is_put_and_its_id_printed(run, client, tmp_path):
    (tmp_path / "a").write_bytes(b"data")
    assert client.read(run("data", "put", tmp_path / "a").out.strip()) == b"data"
    document = run("data", "put", "-", "--json", given=b"data").document
    assert document["checksum"] == hashlib.sha256(b"data").hexdigest()
    assert document["file"] == "-"


def test_several_files_are_put_and_listed(run, client, tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    rows = run("data", "put", tmp_path / "a", tmp_path / "b").rows
    assert [client.read(blob).decode() for blob, _ in rows] == ["a", "b"]
    assert len(run("data", "put", tmp_path / "a", tmp_path / "b", "--json").document) == 2


def test_get_gives_the_bytes_to_stdout_or_a_file(run, client, tmp_path):
    data = os.urandom(100_000)
    blob = client.upload(data).id
    assert run("data", "get", blob).out_bytes == data
    document = run("data", "get", blob, "-o", tmp_path / "out", "--json").document
    assert (tmp_path / "out").read_bytes() == data
    assert document == {"id": str(blob), "file": str(tmp_path / "out"), "size": 100_000}
    assert "there is no blob with this id" in run("data", "get", 17, exit_code=1).err


def test_get_into_a_directory_that_is_not_there_is_one_line(run, client, tmp_path):
    ran = run("data", "get", client.upload(b"x").id, "-o", tmp_path / "none" / "out", exit_code=1)
    assert "No such file or directory" in ran.err
    assert ran.err.count("\n") == 1


def test_a_blob_is_shown_and_deleted(run, client):
    blob = client.upload(b"x" * 1500).id
    out = run("data", "show", blob).out
    assert "1.5 kB" in out
    assert hashlib.sha256(b"x" * 1500).hexdigest() in out
    assert run("data", "show", blob, "--json").document["size"] == 1500
    assert str(blob) in run("data", "delete", blob).out
    assert run("data", "show", blob, exit_code=1).err


def test_a_lambda_is_created_from_a_file_or_an_id_with_its_defaults(run, client, worker):
    args = (
        "--name", "mine", "--tag", "+gpu", "--arg", "-v", "--env", "A=1", "--timeout", 5, "--memory", 16,
        "--fuel", 1000, "--max-output", 10, "--max-log", 20, "--grant-http", "example.org", "--grant-redis",
        "--grant-files", "read", "--grant-env", "HOME", "--deterministic",
    )  # fmt: skip
    created = run("lambda", "create", ECHO, "--runtime", "test", *args).out.strip()
    info = client.lambda_(created)
    assert (info.name, info.tags, info.args, info.env, info.deterministic) == (
        "mine", ["+gpu"], ["-v"], {"A": "1"}, True,
    )  # fmt: skip
    assert (info.limits.timeout_s, info.limits.memory_bytes, info.limits.fuel) == (5, 16 * 1024 * 1024, 1000)
    assert (info.grants.http, info.grants.redis, info.grants.files, info.grants.env) == (
        ["example.org"], True, "read", ["HOME"],
    )  # fmt: skip
    text = run("lambda", "show", created).out
    for words in ("mine", "+gpu", "A=1", "fuel 1000", "files read", "yes"):
        assert words in text
    document = run("lambda", "create", info.codex, "--runtime", "test", "--json").document
    assert document == {"id": document["id"], "codex": str(info.codex), "runtime": "test"}


def test_code_is_inspected_from_a_file_or_an_id(run, client, tmp_path):
    text = run("lambda", "inspect", ECHO, url="http://127.0.0.1:1").out
    for words in ("module", "wasi", "wasi_snapshot_preview1 fd_read", "_start", "yes"):
        assert words in text
    blob = client.upload(ECHO.read_bytes()).id
    document = run("lambda", "inspect", blob, "--json").document
    assert (document["kind"], document["default"], document["pure"]) == ("module", "wasi", True)
    lambda_id = run("lambda", "create", blob, "--grant-dir", "/data:rw").out.strip()
    assert client.lambda_(lambda_id).grants.dirs == ["/data:rw"]
    assert run("lambda", "inspect", lambda_id, "--json").document == document


def test_refusals_say_one_thing_and_nothing_else(run):
    assert run("job", "wait", 17, exit_code=1).out_bytes == b""
    ran = run("lambda", "create", ECHO, "--memory", 10**13, exit_code=1)
    assert "limits.memory_bytes is 10485760000000000000, but must be below 9223372036854775807" in ran.err
    assert run("data", "delete", 17, exit_code=1).err == "piecework: 17: there is no blob with this id\n"


def test_the_runtime_is_found_out_from_the_code(run, client, tmp_path):
    hola = ECHO.parent / "capsule_g3.wasm"
    for code, given in ((hola, None), ("-", hola.read_bytes()), (client.upload(hola.read_bytes()).id, None)):
        document = run("lambda", "create", code, "--json", given=given).document
        assert (document["runtime"], client.lambda_(document["id"]).runtime) == ("capsule", "capsule")
    assert run("lambda", "create", 17, exit_code=1).err == "piecework: there is no blob with this id\n"
    script = tmp_path / "a.lua"
    script.write_text("print(1)")
    assert client.lambda_(run("lambda", "create", script).out.strip()).runtime == "lua5.4"
    ran = run("lambda", "create", "-", given=b"print(1)", exit_code=1)
    assert "this is a text, perhaps a script, not a wasm module" in ran.err
    assert "name the runtime: lua5.4, javascript, python3.12 or micropython" in ran.err


def test_code_that_no_runtime_can_run_is_explained(run, tmp_path):
    nothing = tmp_path / "nothing.wasm"
    nothing.write_bytes(b"\0asm\x01\0\0\0")
    ran = run("lambda", "inspect", nothing, exit_code=1)
    assert "does not export a function () -> nothing named '_start'" in ran.out
    nothing.write_bytes(b"\0asm\x01\0\0\0\x01\xff")
    assert "damaged" in run("lambda", "inspect", nothing, exit_code=1).err
    nothing.write_bytes(b"<html>")
    assert "an HTML page" in run("lambda", "inspect", nothing).out
    assert "an HTML page" in run("lambda", "create", nothing, exit_code=1).err


def test_lambdas_are_listed_newest_first(run, client):
    created = client.create_lambda(0, "test", name="newest")
    rows = run("lambda", "list", "--limit", 3).rows
    assert rows[0][:4] == [str(created), "test", "newest", "0"]
    assert run("lambda", "list", "--json").document[0]["name"] == "newest"
    assert run("lambda", "show", created, "--json").document["codex"] == "0"


def test_the_server_named_before_the_command_is_the_agents_too(run):
    assert "'nowhere' is not" in run("--url", "nowhere", "worker", "run", exit_code=2).err


def test_workers_are_listed_and_shown(run, client, worker):
    rows = {row[0]: row for row in run("worker", "list").rows}
    assert rows[str(worker.id)][1:2] == ["shouter"]
    assert str(worker.id) in {each["id"] for each in run("worker", "list", "--json").document}
    fields = dict(line.split(maxsplit=1) for line in run("worker", "show", worker.id).out.splitlines())
    assert fields["runtimes"] == "test wasi"
    assert run("worker", "show", worker.id, "--json").document["name"] == "shouter"


def test_workers_are_drained_and_retired(run, client):
    one, two = (client.register(WorkerRegister(runtime=["idle"])).id for _ in range(2))
    assert run("worker", "drain", one, two).out.count("drains") == 2
    assert client.worker(one).state == "draining"
    assert run("worker", "retire", one, "--json").document == {"retired": [str(one)]}
    assert "retired" in run("worker", "retire", two).out


@pytest.mark.integration
def test_the_module_is_the_command_too():
    ran = subprocess.run(
        [sys.executable, "-m", "piecework", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == f"piecework, version {__version__}\n"


def test_a_list_says_why_jobs_wait(run, client, lambda_id):
    client.submit(lambda_id, status="paused")
    assert "it is paused, and someone must resume it" in run("job", "list", "--lambda", lambda_id).out


@pytest.mark.integration
def test_a_reader_that_goes_away_is_no_error(server_url, client, lambda_id):
    client.submit_many(lambda_id, range(100), delay_s=60)
    words = ["job", "list", "--lambda", lambda_id, "--limit", "100"]  # others may have jobs there, too
    command = [sys.executable, "-m", "piecework", "--url", server_url, *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.integration
def test_ctrl_c_ends_with_130_and_without_a_traceback(script):
    hold = threading.Event()
    script.answer(JobLog(text="it runs\n", offset=0, next=8, attempt=1, state=JobState.RUNNING))
    script.answer(JobLog(text="", offset=8, next=8, attempt=1, state=JobState.RUNNING), hold=hold)
    command = [sys.executable, "-m", "piecework", "--url", script.url, "job", "log", "-f", "7"]
    # A shell starts what runs in the background with Ctrl-C ignored, and its children inherit that.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed,  # noqa: PLW1509  # it only sets a signal
    ) as process:
        assert process.stdout.readline() == b"it runs\n"
        pause = threading.Event()
        while len(script.seen) < 2:  # it waits for more of the log
            pause.wait(0.01)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == (
            b"piecework: interrupted; job 7 goes on: 'piecework job wait 7' waits for it,"
            b" 'piecework job cancel 7' ends it\n"
        )
        hold.set()
    assert process.returncode == 130
