"""`piecework function`, as people type it."""

import re
from pathlib import Path

import pytest
import requests

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    DeploymentPut,
    ErrorReply,
    FunctionReport,
    ReplicaReport,
    ReplicaState,
    WorkerRegister,
)

SAMPLES = Path(__file__).parents[3] / "samples"
ECHO = SAMPLES / "echo.wasm"


@pytest.fixture
def hola(empty, run):
    run("function", "deploy", "hola", "--file", ECHO, "--revision", "blue", "--replicas", 2)
    return "hola"


class Host:
    """A worker that runs replicas, as the server sees it."""

    def __init__(self, client, slots=4):
        self.client = client
        self.slots = slots
        self.id = client.register(WorkerRegister(runtime=["wasi"], name="kitchen")).id
        self.report()

    def report(self, state="running", **fields):
        orders = self.client.report_functions(self.id, FunctionReport(slots=self.slots)).replicas
        url = "http://127.0.0.1:1" if state == "running" else None
        said = [ReplicaReport(id=each.id, state=ReplicaState(state), url=url, **fields) for each in orders]
        self.client.report_functions(self.id, FunctionReport(slots=self.slots, replicas=said))
        return [each.id for each in orders]


@pytest.fixture
def host(client):
    host = Host(client)
    yield host
    host.slots = 0
    host.report()


def test_a_file_is_deployed_under_its_digest_and_called_at_a_url(run, server_url, empty):
    ran = run("function", "deploy", "hola", "--file", "-", "--env", "A=1", given=ECHO.read_bytes())
    [function] = empty.functions()
    [revision] = function.revisions
    assert revision.name == revision.checksum[:12]
    assert ran.out == f"hola/{revision.name}: 0 of 1, {server_url}/functions/hola\n"
    assert ran.err.startswith("piecework: 1 replica has no host: no worker runs functions now")
    assert (revision.env, revision.runtime) == ({"A": "1"}, "wasi")


def test_options_become_those_of_the_revision(run, empty):
    ran = run(
        "function", "deploy", "hola", "--file", ECHO, "--revision", "blue", "--replicas", 0, "--arg", "-v",
        "--env", "TOKEN=x", "--tag", "+eu", "--timeout", 5, "--memory", 32, "--grant-http", "h:80", "--json",
    )  # fmt: skip
    [blue] = ran.document["revisions"]
    assert (blue["args"], blue["env"], blue["tags"]) == (["-v"], {"TOKEN": "***"}, ["+eu"])
    assert (blue["limits"], blue["grants"]) == (
        {"timeout_s": 5.0, "memory_bytes": 32 * 2**20},
        {"http": ["h:80"]},
    )
    assert (blue["wanted"], ran.document["default"]) == (0, "blue")


def test_a_lambda_is_deployed_with_its_own_options(run, empty):
    made = empty.create_lambda(ECHO, "wasi", env={"A": "1"}, mode="http")
    run("function", "deploy", "hola", "--lambda", made)
    [revision] = empty.function("hola").revisions
    assert (revision.lambda_, revision.env, revision.name) == (made, {"A": "1"}, str(int(made)))


def test_a_lambda_is_deployed_by_its_name(run, empty):
    empty.create_lambda(ECHO, "wasi", name="echo", env={"A": "old"}, mode="http")
    newest = empty.create_lambda(ECHO, "wasi", name="echo", env={"A": "new"}, mode="http")
    run("function", "deploy", "hola", "--lambda", "echo")
    [revision] = empty.function("hola").revisions
    assert (revision.lambda_, revision.env, revision.name) == (newest, {"A": "new"}, str(int(newest)))
    ran = run("function", "deploy", "hola", "--lambda", "eco", exit_code=1)
    assert ran.err == "piecework: there is no lambda named 'eco'\n"


def test_the_same_again_is_fine_and_other_options_are_not(run, hola):
    again = ["function", "deploy", hola, "--file", ECHO, "--revision", "blue"]
    run(*again)
    ran = run(*again, "--env", "A=1", exit_code=1)
    assert ran.err.startswith("piecework: hola/blue is there already, with other env; a revision never changes")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["hola"], "Name the code by one of --module, --file and --lambda."),
        (["hola", "--module", "a/b/c", "--lambda", "5"], "Name the code by one of"),
        (["hola", "--module", "hola"], "is not ORG/MODULE/TAG"),
        (["ho la", "--lambda", "5"], "is no name"),
        (["hola", "--lambda", "5", "--revision", "default"], "cannot be called 'default'"),
        (["hola", "--lambda", "5", "--replicas", "-1"], "--replicas"),
        (["hola", "--file", "/nowhere.wasm"], "/nowhere.wasm"),
    ],
)
def test_mistakes_on_the_command_line_are_told(run, args, said):
    ran = run("function", "deploy", *args, exit_code=2)
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_a_module_that_is_not_there_is_a_failure(run):
    ran = run("function", "deploy", "hola", "--module", "k33g/none/1", exit_code=1)
    assert ran.err == "piecework: there is no module k33g/none/1 in the registry: push it first\n"


def test_deploy_waits_until_the_replicas_run(run, empty, host):
    blue = DeploymentPut(codex=empty.upload(ECHO).id, replicas=2)
    empty.deploy("hola", "blue", blue)
    host.report()
    ran = run("function", "deploy", "hola", "--file", ECHO, "--revision", "blue", "--wait", "--wait-timeout", 5)
    assert ran.out.startswith("hola/blue: 2 of 2, ")
    assert ran.err == ""


def test_what_is_not_ready_in_time_is_a_failure_with_its_reason(run, empty, host):
    empty.deploy("hola", "blue", DeploymentPut(codex=empty.upload(ECHO).id))
    host.report("failed", error="exit code 1")
    ran = run(
        "function",
        "deploy",
        "hola",
        "--file",
        ECHO,
        "--revision",
        "blue",
        "--wait",
        "--wait-timeout",
        0,
        exit_code=1,
    )
    assert ran.err == (
        "piecework: 0 of 1 replicas of hola/blue run within the time to wait: on kitchen: exit code 1\n"
    )


def test_functions_are_listed_with_where_calls_go_and_what_runs(run, hola, client, host):
    client.deploy(hola, "green", DeploymentPut(codex=client.upload(ECHO).id, replicas=0))
    client.split(hola, {"blue": 3, "green": 1})
    host.report(calls=7, errors=1, p50_ms=2.5, p99_ms=1500.0)
    ran = run("function", "list")
    digest = client.function(hola).revisions[0].checksum[:12]
    heading, green, blue = (
        line.rpartition("code")[0] or line.rpartition("sha256")[0] for line in ran.out.splitlines()
    )
    assert heading.split() == ["function", "revision", "calls", "go", "replicas", "calls", "errors", "p50", "p99"]
    assert green.split() == ["hola", "green", "25", "%", "as", "jobs"]
    assert blue.split() == ["hola", "blue", "75", "%", "2", "of", "2", "14", "2", "2.5", "ms", "1.5", "s"]
    assert ran.out.count(f"sha256:{digest}") == 2
    [document] = run("function", "list", "--json").document
    assert document["split"] == {"blue": 3, "green": 1}


def test_a_function_is_shown_with_its_replicas(run, hola, host):
    ids = host.report("failed", error="exit code 1\nat once")
    out = run("function", "show", hola).out
    assert "calls go to  blue 100 %" in out
    assert "remark        on kitchen: exit code 1 at once" in out
    for id_ in ids:
        assert str(int(id_)) in out
    assert "there is no function nobody" in run("function", "show", "nobody", exit_code=1).err


def test_a_url_that_is_set_aside_is_shown_with_the_reason(run, empty, server_url):
    route = {"function": "far", "url": "http://127.0.0.1:1"}
    assert requests.post(f"{server_url}/memory/functions/registration", json=route, timeout=10).ok
    run("function", "invoke", "far", exit_code=1)
    why = "http://127.0.0.1:1 is set aside: it takes no connection: connection refused"
    assert why in run("function", "show", "far").out
    assert why in run("function", "list").out


def test_a_function_is_scaled_by_its_default_revision_unless_one_is_named(run, hola, client):
    assert "blue         0 of 5" in run("function", "scale", hola, 5).out
    client.deploy(hola, "green", DeploymentPut(codex=client.upload(ECHO).id))
    run("function", "scale", hola, 0, "--revision", "green")
    assert {each.name: each.wanted for each in client.function(hola).revisions} == {"green": 0, "blue": 5}
    client.remove_default(hola)
    assert "name one of the revisions of hola: green, blue" in run("function", "scale", hola, 1, exit_code=1).err


def test_calls_are_routed_to_one_or_divided(run, hola, client):
    client.deploy(hola, "green", DeploymentPut(codex=client.upload(ECHO).id))
    assert "calls go to  green 10 %, blue 90 %" in run("function", "split", hola, "blue=90", "green=10").out
    assert "calls go to  green 100 %" in run("function", "default", hola, "green").out
    assert "calls go to  no revision" in run("function", "default", hola, "--none").out
    assert "has no revision pink" in run("function", "default", hola, "pink", exit_code=1).err


@pytest.mark.parametrize(
    "line",
    ["split hola", "split hola blue", "split hola blue=0", "split hola blue=x", "split hola blue=1 blue=2",
     "default hola", "default hola blue --none"],
)  # fmt: skip
def test_routes_that_make_no_sense_are_mistakes(run, line):
    assert run("function", *line.split(), exit_code=2).err.count("\n") == 1


def test_a_revision_or_a_whole_function_is_undeployed(run, hola, client):
    client.deploy(hola, "green", DeploymentPut(codex=client.upload(ECHO).id))
    assert "force it" in run("function", "undeploy", hola, "--revision", "blue", exit_code=1).err
    assert run("function", "undeploy", hola, "--revision", "blue", "--force").out == "hola/blue is removed\n"
    assert run("function", "undeploy", hola).out == "the function hola is removed\n"
    assert run("function", "list").out.splitlines()[1:] == []


def test_logs_of_several_replicas_say_whose_they_are(run, hola, host):
    first, second = host.report(log=b"hola\n")
    assert run("function", "logs", hola).out == f"==> kitchen {first} <==\nhola\n==> kitchen {second} <==\nhola\n"
    parts = run("function", "logs", hola, "--json").document
    assert [(Id.parse(each["replica"]), each["text"]) for each in parts] == [(first, "hola\n"), (second, "hola\n")]
    run("function", "scale", hola, 1)
    ended, there = run("function", "logs", hola).out.split("hola\n==>")
    assert re.fullmatch(rf"==> kitchen {second}, ended \d{{4}}-.+ <==\n", ended)
    assert there == f" kitchen {first} <==\nhola\n"


def test_a_call_prints_the_answer_as_it_is(run, script):
    script.answer(body=b"\xff\x00", headers={"X-A": "1"})
    ran = run("function", "invoke", "hola", url=script.url)
    assert ran.out_bytes == b"\xff\x00"
    [seen] = script.seen
    assert (seen.method, seen.path) == ("GET", "/functions/hola")


def test_a_call_of_what_is_not_there_says_so(run, hola):
    ran = run("function", "invoke", hola, "--revision", "green", exit_code=1)
    assert (ran.out, ran.err) == ("", "piecework: the function hola has no revision green; it has blue\n")
    ran = run("function", "invoke", "ola", exit_code=1)
    assert (ran.out, ran.err) == (
        "",
        "piecework: there is no function ola, or none of its revisions gets its calls.\n",
    )
    run("function", "default", hola, "--none")
    assert "none of its revisions gets its calls" in run("function", "invoke", hola, exit_code=1).err


def test_a_call_sends_what_it_is_given(run, script):
    script.answer(ErrorReply(code=1, message="no token for that"), status=403)
    script.answer(body=b"ok")
    run(
        "function", "invoke", "hola", "--revision", "blue", "-d", '{"a": 1}', "-H", "X-A:  b c", "--path",
        "a ö?x=1&y=%20", url=script.url,
    )  # fmt: skip
    _, seen = script.seen
    assert (seen.method, seen.path, seen.body) == (
        "POST",
        "/functions/hola/blue/a%20%C3%B6?x=1&y=%20",
        b'{"a": 1}',
    )
    assert (seen.headers["X-A"], seen.headers["Content-Type"]) == ("b c", "application/json")


@pytest.mark.parametrize(
    ("given", "kind"),
    [(b"hola", "text/plain; charset=utf-8"), (b"\xff", "application/octet-stream"), (b"[1]", "application/json")],
)
def test_what_a_call_sends_says_what_it_is(run, script, given, kind):
    script.answer(body=b"")
    run("function", "invoke", "hola", "--input", "-", "-X", "put", given=given, url=script.url)
    assert (script.seen[0].method, script.seen[0].headers["Content-Type"]) == ("PUT", kind)


def test_a_call_that_fails_prints_its_answer_and_exits_with_one(run, script):
    script.answer(status=503, body=b'{"error": "busy"}')
    ran = run("function", "invoke", "hola", "-i", url=script.url, exit_code=1)
    assert ran.out.startswith("503\n")
    assert ran.out.endswith('\n\n{"error": "busy"}')
    assert ran.err == "piecework: hola answered 503\n"


def test_a_call_can_be_read_by_programs(run, script):
    script.answer(status=201, body=b"hola", headers={"X-A": "1"})
    document = run("function", "invoke", "hola", "--json", url=script.url).document
    assert (document["status"], document["headers"]["x-a"], document["text"]) == (201, "1", "hola")


@pytest.mark.parametrize(
    "args", [["-d", "x", "--input", "-"], ["-H", "nothing"], ["-H", "A: \u00f6"], ["-X", "HEAD"], ["-X", "A B"]]
)
def test_calls_that_cannot_be_sent_are_mistakes(run, args):
    assert run("function", "invoke", "hola", *args, exit_code=2).err.count("\n") == 1
