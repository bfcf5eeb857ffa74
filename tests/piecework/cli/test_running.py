"""`piecework run` and its kin: which runtime they find, and what they take for code and input."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from piecework.protocol.messages import WorkerRegister

SAMPLES = Path(__file__).parents[3] / "samples"
ECHO = SAMPLES / "echo.wasm"


@pytest.fixture
def run_job(run, client, monkeypatch):
    """Return a function that runs something until it waits for a worker, and returns its job."""

    def interrupt(self, job):
        raise KeyboardInterrupt

    def start(*args, **options):
        run("run", *args, exit_code=130, **options)
        [info] = client.jobs(limit=1)
        return client.job(info.id)

    monkeypatch.setattr("piecework.client.Client.follow_log", interrupt)
    return start


@pytest.fixture
def pipe():
    """Return a function that puts bytes into a pipe, and returns its name as a shell's ``<(...)`` has it."""
    readers = []

    def fill(data):
        reader, writer = os.pipe()
        readers.append(reader)
        with os.fdopen(writer, "wb") as file:
            file.write(data)
        return f"/dev/fd/{reader}"

    yield fill
    for reader in readers:
        os.close(reader)


def test_run_takes_arguments_and_what_is_piped_in(run_job, client):
    job = run_job("--arg", "a", ECHO, "b c", "--", "--d", given=b"piped\0")
    assert job.args == ["a", "b c", "--d"]
    assert client.read(job.input.id) == b"piped\0"


@pytest.mark.slow
def test_the_same_file_again_runs_the_lambda_that_is_there(run_job, client):
    first = run_job(ECHO, "one", "--env", "A=1", "--timeout", 90)
    again = run_job(ECHO, "two")
    assert again.lambda_ == first.lambda_
    assert (first.args, first.env, first.limits.timeout_s, first.max_attempts) == (["one"], {"A": "1"}, 90, 1)
    assert (again.args, again.env, again.limits.timeout_s) == (["two"], {}, 300)
    assert run_job("-", given=ECHO.read_bytes()).lambda_ == first.lambda_
    assert run_job("--runtime", "wasi", ECHO).lambda_ == first.lambda_
    larger = run_job("--memory", 512, ECHO)
    assert larger.lambda_.id != first.lambda_.id
    assert larger.limits.memory_bytes == 512 * 1024 * 1024


def test_a_lambda_is_created_again_unless_it_may_be_reused(run, client):
    first = run("lambda", "create", ECHO, "--name", "echo", "--reuse").out
    assert run("lambda", "create", ECHO, "--name", "echo", "--reuse").out == first
    newer = run("lambda", "create", ECHO, "--name", "echo", "--json").document
    assert newer["id"] != first.strip()
    assert run("lambda", "show", "echo", "--json").document["id"] == newer["id"]
    assert run("lambda", "show", f"echo@{first.strip()}", "--json").document["id"] == first.strip()
    assert [row[0] for row in run("lambda", "list", "--name", "echo").rows][:2] == [newer["id"], first.strip()]


def test_run_has_no_input_when_nothing_is_piped_in(run_job):
    assert run_job(ECHO).input.id == 0


def test_run_does_not_take_its_code_for_its_input(run_job):
    assert run_job("-", given=ECHO.read_bytes()).input.id == 0


def test_run_prefers_the_input_that_is_named(run_job, client, tmp_path):
    (tmp_path / "named").write_bytes(b"named")
    assert client.read(run_job(ECHO, "--input", tmp_path / "named", given=b"piped").input.id) == b"named"


@pytest.mark.parametrize(
    ("name", "text", "options", "runtime"),
    [
        ("hi.py", "print(1)", (), "python3.12"),
        ("tool", "#!/usr/bin/env lua\nprint(1)", (), "lua5.4"),
        ("hi.py", "print(1)", ("--runtime", "default"), "python3.12"),
        ("hi.txt", "print(1)", ("--runtime", "js"), "javascript"),
    ],
)
@pytest.mark.usefixtures("empty")
def test_a_script_tells_its_runtime(run, run_job, client, tmp_path, name, text, options, runtime):
    (tmp_path / name).write_text(text)
    assert client.lambda_(run_job(tmp_path / name, *options).lambda_.id).runtime == runtime
    created = run("lambda", "create", tmp_path / name, *options).out.strip()
    assert client.lambda_(created).runtime == runtime
    shown = run(
        "function", "deploy", f"hi-{runtime[:4]}-{len(options)}", "--file", tmp_path / name, *options, "--json"
    )
    assert shown.document["revisions"][0]["runtime"] == runtime


def test_an_unknown_runtime_is_refused_with_the_nearest(run, client, tmp_path):
    (tmp_path / "hi.py").write_text("print(1)")
    for command in (("run",), ("lambda", "create"), ("function", "deploy", "hola", "--file")):
        err = run(*command, tmp_path / "hi.py", "--runtime", "pyton3.12", exit_code=2).err
        assert "there is no runtime 'pyton3.12': did you mean python3.12? There are capsule" in err
    client.register(WorkerRegister(runtime=["pyton3.12+http"]))
    created = run("lambda", "create", tmp_path / "hi.py", "--runtime", "pyton3.12").out.strip()
    assert client.lambda_(created).runtime == "pyton3.12"


def test_code_of_another_kind_than_its_runtime_is_refused(run, tmp_path):
    refused = run("lambda", "create", ECHO, "--runtime", "python3.12", exit_code=1)
    assert "python3.12 runs scripts: name the runtime wasi, or none" in refused.err
    (tmp_path / "hi.py").write_text("print(1)")
    assert "not a wasm binary" in run("lambda", "create", tmp_path / "hi.py", "--runtime", "wasi", exit_code=1).err


@pytest.mark.slow
@pytest.mark.usefixtures("empty")
def test_pipes_are_files_wherever_one_is_taken(run, run_job, client, pipe):
    code = (SAMPLES / "sum.wasm").read_bytes()
    created = run("lambda", "create", pipe(code), "--json").document
    named = run("lambda", "create", pipe(code), "--runtime", "wasi", "--json").document
    for blob in (run("data", "put", pipe(code)).out.strip(), created["codex"], named["codex"]):
        assert client.read(blob) == code
    assert run("module", "push", pipe(code), "me/sum/1").out.startswith("me/sum/1@sha256:")
    assert "wasi" in run("lambda", "inspect", pipe(code)).out
    assert run("function", "deploy", "sum", "--file", pipe(code)).out.startswith("sum/")
    job = run("job", "submit", created["id"], "--input", pipe(b"given")).out.strip()
    assert client.read(client.job(job).input.id) == b"given"
    assert client.read(run_job(pipe(code), "--input", pipe(b"more")).input.id) == b"more"


def test_input_that_nobody_asked_for_is_refused(run, client, pipe, monkeypatch):
    created = client.create_lambda(0, "exotic")
    with Path(pipe(b"hi")).open() as piped:
        monkeypatch.setattr("piecework.terminal.inputs.sys", SimpleNamespace(stdin=piped))
        err = run("job", "submit", created, exit_code=2).err
        assert "--input - makes it the input, </dev/null leaves it out" in err
        assert "--input -" in run("function", "invoke", "any", exit_code=2).err
    assert [job.id for job in client.jobs() if job.lambda_.id == created] == []


def test_a_program_creates_lambdas_without_naming_a_runtime(client, tmp_path):
    (tmp_path / "hi.py").write_text("print(1)")

    def find(*args):
        return client.lambda_(client.create_lambda(*args)).runtime

    assert find(tmp_path / "hi.py") == find(tmp_path / "hi.py", "python") == "python3.12"
    assert find(ECHO) == find(ECHO.read_bytes()) == find(client.upload(ECHO)) == "wasi"
    assert find(SAMPLES / "capsule_g4.wasm") == "capsule"
    assert find(b"print(1)", "lua") == "lua5.4"
    with pytest.raises(ValueError, match="name the runtime"):
        client.create_lambda(b"print(1)")
