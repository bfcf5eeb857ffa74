"""What commands say on Ctrl-C: what became of what they did."""

import hashlib
import re
from pathlib import Path

import pytest

from piecework.client import Client
from piecework.client.api import ServerCalls
from piecework.protocol.messages import DeploymentPut

ECHO = Path(__file__).parents[3] / "samples/echo.wasm"


def bind(interrupt, real):
    return lambda *args, **options: interrupt(real, *args, **options)


@pytest.fixture
def ctrl_c(monkeypatch):
    """Return a function that lets Ctrl-C come when a method of the client is called again after some times."""

    def arrange(method, times=0):
        calls = []

        def interrupt(real, *args, **options):
            calls.append(args)
            if len(calls) > times:
                raise KeyboardInterrupt
            return real(*args, **options)

        # A method may be called by another one, too, on the client's core.
        wanted = {kind: getattr(kind, method) for kind in (Client, ServerCalls)}
        for kind, real in wanted.items():
            patch.setattr(kind, method, bind(interrupt, real))

    with monkeypatch.context() as patch:  # ends before what other fixtures clean up
        yield arrange


@pytest.fixture
def hola(empty):
    """A function, deployed."""
    codex = empty.upload(ECHO.read_bytes()).id
    empty.deploy("hola", "blue", DeploymentPut(codex=codex, runtime="wasi", replicas=0))
    return "hola"


TELLS = "'piecework function show hola' tells"
CHANGED = f"hola may have been changed: {TELLS}"
DEPLOY = f"function deploy hola --file {ECHO} --runtime wasi --replicas 0 --revision green"


@pytest.mark.usefixtures("hola")
@pytest.mark.parametrize(
    ("line", "method", "left"),
    [
        ("job list", "jobs", "nothing was changed"),
        ("function show hola", "function", "nothing was changed"),
        ("function scale hola 2", "function", "nothing was changed"),
        ("function scale hola 2", "scale", CHANGED),
        ("function default hola blue", "set_default", CHANGED),
        ("function default hola --none", "remove_default", CHANGED),
        ("function split hola blue=1", "split", CHANGED),
        ("function undeploy hola", "undeploy", CHANGED),
        ("function invoke hola", "invoke", "hola may go on with the call"),
        ("function logs hola --follow", "follow_function_log", "nothing was changed"),
        (DEPLOY, "upload", "hola was not deployed"),
        (DEPLOY, "deploy", f"hola/green may have been deployed: {TELLS}"),
        (
            f"{DEPLOY} --wait",
            "await_replicas",
            f"hola/green is deployed, and its replicas go on: {TELLS} how they do",
        ),
        (f"lambda create {ECHO}", "upload", "no lambda was created"),
        (
            f"lambda create {ECHO}",
            "create_lambda",
            "the lambda may have been created: 'piecework lambda list' shows it then",
        ),
        (f"run {ECHO}", "create_lambda", "no job was submitted"),
        (f"job submit 7 --input {ECHO}", "upload", "no job was submitted"),
        (
            f"job submit 7 --input-dir {ECHO.parent}",
            "submit_many",
            "some of the {files} jobs may have been submitted: 'piecework job list --lambda 7' shows them",
        ),
        (
            f"module push {ECHO} o/m/t",
            "push_module",
            "o/m/t may have been pushed: 'piecework module show o/m/t' tells",
        ),
        ("module delete o/m/t", "delete_module", "deleted: 0 of 1, and perhaps o/m/t"),
    ],
    ids=lambda value: value.replace(str(ECHO.parent), "samples"),
)
def test_what_is_left_is_told(run, ctrl_c, line, method, left):
    ctrl_c(method)
    ran = run(*line.split(), exit_code=130)
    files = sum(path.is_file() for path in ECHO.parent.iterdir())
    assert ran.err == f"piecework: interrupted; {left.format(files=files)}\n"
    assert ran.out == ""


def test_run_says_where_its_job_is_then(run, client, ctrl_c):
    ctrl_c("submit")
    ran = run("run", ECHO, exit_code=130)
    shows = r"'piecework job list --lambda (\d+)' shows it then"
    found = re.fullmatch(rf"piecework: interrupted; the job may have been submitted: {shows}\n", ran.err)
    assert client.lambda_(found[1]).codex_checksum == hashlib.sha256(ECHO.read_bytes()).hexdigest()


def test_files_that_were_stored_are_shown(run, client, ctrl_c, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        Path(name).write_text(name)
    ctrl_c("upload", times=2)
    ran = run("data", "put", "a", "b", "c", exit_code=130)
    assert [client.read(int(blob)).decode() for blob, _ in ran.rows] == ["a", "b"]
    left = "c is not stored, or under an id that nobody was told\n"
    assert ran.err == f"piecework: interrupted; 2 of 3 files are stored; {left}"
    ran = run("data", "put", "c", exit_code=130)
    assert (ran.out, ran.err) == ("", f"piecework: interrupted; {left}")


@pytest.mark.parametrize("as_json", [False, True])
def test_what_was_done_to_the_first_of_several_is_told(run, client, idle_lambda, ctrl_c, as_json):
    jobs = client.submit_many(idle_lambda, range(3))
    ctrl_c("cancel", times=2)
    ran = run("job", "cancel", *jobs, *["--json"] * as_json, exit_code=130)
    assert ran.err == f"piecework: interrupted; cancelled: 2 of 3, and perhaps {jobs[2]}\n"
    if as_json:
        assert ran.document == {"cancelled": [str(job) for job in jobs[:2]]}
