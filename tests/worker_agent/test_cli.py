import json
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest
import structlog
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from piecework import __version__
from piecework.worker_agent import assembly, cli
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.link.state import StateDirectory
from piecework.worker_agent.runtimes.services.access import NodeRules


@pytest.fixture(autouse=True)
def untouched_process():
    """Put signal handlers and logging back as they were."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    structlog.reset_defaults()


@pytest.fixture
def nowhere():
    """The URL of a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def run(*args, **environ):
    return CliRunner(env={"PIECEWORK_URL": None, "PIECEWORK_TOKEN": None, **environ}).invoke(
        cli.worker_commands, args
    )


def test_version():
    assert __version__ in run("--version").output


def test_unknown_runtime_ends_with_code_2_and_the_list_of_known_ones():
    result = run("run", "--runtime", "cobol")
    assert result.exit_code == 2
    assert "runtime 'cobol': this node can run default, capsule, funless, component, wasi" in result.output


def test_all_wrong_settings_are_named_at_once():
    result = run("run", "--slots", "0", "--server", "queue", "--prefetch", "-1")
    assert result.exit_code == 2
    assert all(word in result.output for word in ("slots is 0", "'queue' is not the URL", "prefetch is -1"))


def test_variables_that_cannot_be_read_are_named():
    result = run("run", PIECEWORK_WORKER_SLOTS="many")
    assert result.exit_code == 2
    assert "PIECEWORK_WORKER_SLOTS='many'" in result.output


def test_options_override_the_environment(monkeypatch):
    monkeypatch.setattr(cli.os, "environ", {"PIECEWORK_URL": "http://a.test", "PIECEWORK_WORKER_SLOTS": "3"})
    settings = cli.read_settings({"server": "http://b.test"})
    assert (settings.server, settings.slots) == ("http://b.test", 3)


@pytest.mark.slow
def test_server_that_does_not_answer_ends_no_wait_with_code_1_and_one_line(nowhere, tmp_path):
    result = run("run", "--no-wait", "--server", nowhere, "--state", str(tmp_path), "--cache-size", "5")
    assert result.exit_code == 1
    assert result.output == (
        f"worker-agent: no answer from {nowhere}: connection refused; "
        "start it, or name another with --server or PIECEWORK_URL\n"
    )


@pytest.mark.integration
def test_installation_without_the_libraries_of_an_agent_says_what_to_install():
    code = "import sys; sys.modules['structlog'] = None; from piecework.worker_agent.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "worker-agent: structlog is not installed: run pip install 'piecework[worker]'\n"


def test_state_directory_in_use_ends_with_code_1_and_one_line(nowhere, tmp_path):
    with StateDirectory(tmp_path):
        result = run("run", "--no-wait", "--server", nowhere, "--state", str(tmp_path))
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "another agent" in result.output


def test_state_directory_that_cannot_be_used_ends_with_one_line(nowhere, tmp_path):
    (tmp_path / "blobs").touch()
    result = run("run", "--no-wait", "--server", nowhere, "--state", str(tmp_path))
    assert result.exit_code == 1
    assert result.output.startswith("worker-agent: the cache")


class Stopwatch:
    """Notes what an agent is told."""

    def __init__(self):
        self.told = []
        self.changed = threading.Condition()

    def ask_to_stop(self, reason):
        self._note(reason)

    def leave_now(self, code):
        self._note(code)

    def _note(self, what):
        with self.changed:
            self.told.append(what)
            self.changed.notify_all()

    def wait_for(self, count):
        with self.changed:
            return self.changed.wait_for(lambda: len(self.told) == count, 5)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_first_signal_drains_and_the_second_leaves_at_once(number, code):
    agent = Stopwatch()
    assembly.listen_to_signals(agent)
    signal.raise_signal(number)
    assert agent.wait_for(1)
    signal.raise_signal(number)
    assert agent.wait_for(2)
    assert agent.told == [number.name, code]


def test_agent_is_put_together_from_its_settings(tmp_path):
    settings = cli.read_settings({"state": tmp_path, "slots": 3, "tags": ("gpu",), "name": "n", "token": "secret"})
    with StateDirectory(settings.state_path) as state:
        agent = assembly.assemble(settings, state, NodeRules())
    registration = agent.membership._registration
    assert (registration.slots, registration.tags, registration.name) == (3, ["gpu"], "n")
    assert (registration.runtime, registration.agent_version) == (list(settings.list_runtimes()), __version__)
    assert len(registration.incarnation) == 16
    server: Any = agent.shared.server
    pulse_server: Any = agent.shared.pulse_server
    assert server.transport._retries.attempts == 1
    assert pulse_server.transport._retries.read_s == assembly.PULSE.read_s
    agent.parts.executor.stop(0)


@pytest.mark.parametrize("words", [("--token", "two words"), ("--name", "a\udcff"), ("--tag", "a\udcff")])
def test_words_that_are_no_text_are_wrong_options(words, tmp_path):
    result = run("run", "--state", str(tmp_path), *words)
    assert result.exit_code == 2
    assert "worker-agent: these settings cannot be used:" in result.output


def test_a_proxy_that_is_none_ends_the_agent_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(AgentError, match="http_proxy"):
        assembly.connect(cli.Settings(state=tmp_path, server="http://queue.test"))


def test_runtimes_are_listed_with_what_is_missing(tmp_path):
    result = run("runtimes", "--state", str(tmp_path))
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "wasi - ready" in lines
    assert "python3.12 CPython 3.12.0 ready" in lines
    assert "lua5.4, dlabLua, dlabLua54 Lua 5.4.8 missing: worker-agent runtimes install lua5.4" in lines


def test_runtimes_are_listed_for_programs(tmp_path):
    rows = {row["name"]: row for row in json.loads(run("runtimes", "--state", str(tmp_path), "--json").output)}
    assert rows["javascript"]["ready"] is True
    assert rows["lua5.4"] == {
        "name": "lua5.4",
        "aliases": ["dlabLua", "dlabLua54"],
        "version": "Lua 5.4.8",
        "ready": False,
        "advice": "worker-agent runtimes install lua5.4",
    }


@pytest.mark.integration
def test_interpreter_is_compiled_ahead_of_its_first_script(tmp_path):
    result = run("runtimes", "--state", str(tmp_path), "install", "micropython")
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "micropython is ready")
    assert "restart those that run" in result.output
    assert len(list((tmp_path / "compiled").rglob("*.cwasm"))) == 1


def test_interpreter_that_nobody_knows_and_a_bad_description_are_errors_of_one_line(tmp_path):
    result = run("runtimes", "--state", str(tmp_path), "install", "cobol")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "no interpreter of 'cobol' to install; known are javascript, lua5.4" in result.output
    (tmp_path / "own.toml").write_text("wasm = 1")
    result = run("runtimes", "--interpreters", str(tmp_path))
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "own.toml" in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell):
    assert "_WORKER_AGENT_COMPLETE" in run("completion", shell).output


def test_completion_knows_the_commands_of_the_agent():
    found = ShellComplete(cli.worker_commands, {}, "worker-agent", "").get_completions([], "ru")
    assert [item.value for item in found] == ["run", "runtimes"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["run", "--runtime"], ["micropython"]),
        (["runtimes", "install"], ["micropython"]),
    ],
)
def test_completion_knows_the_runtimes_of_the_agent(words, names):
    found = ShellComplete(cli.worker_commands, {}, "worker-agent", "").get_completions(words, "mi")
    assert [item.value for item in found] == names


def test_a_variable_that_nobody_reads_is_told_at_the_start(tmp_path, nowhere):
    options = ("run", "--no-wait", "--server", nowhere, "--state", str(tmp_path / "state"), "--slots", "1")
    result = run(*options, PIECEWORK_SLOTS="4")
    assert result.exit_code == 1
    assert "PIECEWORK_SLOTS is no variable of Piecework: did you mean PIECEWORK_WORKER_SLOTS?" in result.output
