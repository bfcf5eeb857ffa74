"""What the shell is offered for ids and names."""

import threading
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from patience import LONG_S

from piecework.cli.main import main
from piecework.cli.options import completing
from piecework.protocol.messages import DeploymentPut, LambdaList


@pytest.fixture
def offered(server_url, monkeypatch):
    """What is offered for the last word of a command line, with what people call it."""

    monkeypatch.setattr(completing, "LOOK_S", LONG_S)

    def offered(*words, url=server_url):
        monkeypatch.setenv("PIECEWORK_URL", url)
        *before, last = words
        found = ShellComplete(main, {}, "piecework", "_PIECEWORK_COMPLETE").get_completions(before, last)
        return {item.value: item.help for item in found}

    return offered


@pytest.mark.parametrize(
    "before",
    [
        ("lambda", "show"),
        ("lambda", "inspect"),
        ("job", "submit"),
        ("job", "map"),
        ("job", "list", "--lambda"),
        ("function", "deploy", "f", "--lambda"),
    ],
)
def test_lambdas_are_offered_by_id_and_by_name(offered, client, before):
    created = str(client.create_lambda(0, "test", name="upper"))
    assert offered(*before, created[:6])[created] == "test upper"
    assert offered(*before, "upp")["upper"] == "test, the newest"
    assert not offered(*before, "lower").keys() & {created, "upper"}


def test_jobs_are_offered_with_their_states(offered, client, idle_lambda):
    job = str(client.submit(idle_lambda))
    for command in ("show", "wait", "cancel", "log", "output", "trace"):
        assert offered("job", command, "")[job] == "Enqueued"


def test_schedules_are_offered_by_name_with_their_times(offered, client, idle_lambda):
    client.create_schedule("nightly", idle_lambda, cron="30 2 * * *")
    client.create_schedule("often", idle_lambda, every_s=90)
    try:
        for before in (("schedule", "show"), ("schedule", "run"), ("job", "list", "--schedule")):
            assert offered(*before, "") == {"nightly": "30 2 * * *", "often": "every 90 s"}
            assert offered(*before, "oft") == {"often": "every 90 s"}
    finally:
        client.remove_schedule("nightly")
        client.remove_schedule("often")


def test_time_zones_are_offered_by_name_and_by_place(offered):
    assert "Europe/Berlin" in offered("schedule", "create", "n", "1", "--timezone", "Europe/B")
    assert set(offered("schedule", "create", "n", "1", "--timezone", "tok")) == {"Asia/Tokyo"}


def test_workers_are_offered_by_name(offered, worker):
    for command in ("show", "drain", "retire"):
        assert offered("worker", command, "shou")[str(worker.id)] == "shouter"


def test_runtimes_are_those_that_workers_offer(offered, worker):
    assert {"test", "wasi"} <= set(offered("lambda", "create", "x.wasm", "--runtime", ""))
    assert set(offered("run", "x.wasm", "--runtime", "was")) == {"wasi"}


def test_functions_are_offered_by_name(offered, client):
    codex = client.upload(Path(__file__).parents[3] / "samples" / "echo.wasm").id
    client.deploy("greet", "blue", DeploymentPut(codex=codex, replicas=0))
    for command in ("show", "invoke", "logs", "scale", "undeploy", "deploy"):
        assert "greet" in offered("function", command, "gr")


def test_the_server_of_the_command_line_is_asked(offered, client, server_url):
    created = str(client.create_lambda(0, "test"))
    assert created in offered("--url", server_url, "lambda", "show", "", url="http://127.0.0.1:9")
    assert created in offered("lambda", "show", "--url", server_url, "", url="http://127.0.0.1:9")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense"])
def test_nothing_is_offered_and_said_without_a_server(offered, capfd, url):
    assert offered("lambda", "show", "", url=url) == {}
    assert capfd.readouterr() == ("", "")


def test_a_server_that_says_nothing_is_not_waited_for(offered, script, monkeypatch):
    monkeypatch.setattr(completing, "LOOK_S", 0.05)
    hold = threading.Event()
    script.answer(LambdaList(lambdas=[]), hold=hold)
    try:
        assert offered("lambda", "show", "", url=script.url) == {}
    finally:
        hold.set()
