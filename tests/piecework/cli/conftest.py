import json
from dataclasses import dataclass

import pytest
from click.testing import CliRunner
from patience import LONG_S

from piecework.cli.main import main


@dataclass
class Ran:
    """How a command ended."""

    exit_code: int
    out_bytes: bytes
    err: str

    @property
    def out(self):
        return self.out_bytes.decode()

    @property
    def document(self):
        return json.loads(self.out_bytes)

    @property
    def rows(self):
        """The table's rows under its headings, as lists of words."""
        return [line.split() for line in self.out.splitlines()[1:]]


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Let `ping` wait for a busy machine."""
    monkeypatch.setattr("piecework.cli.ping.ANSWER_S", LONG_S)
    monkeypatch.setattr("piecework.cli.ping.LONGEST_S", LONG_S)


@pytest.fixture
def run(server_url):
    """Run ``piecework`` with arguments, as a shell would, against the real server."""

    def run(*args, given=None, url=server_url, exit_code=0):
        env = {"PIECEWORK_URL": url, "PIECEWORK_TOKEN": None, "NO_COLOR": None, "FORCE_COLOR": None}
        result = CliRunner(env=env).invoke(main, [str(arg) for arg in args], input=given, prog_name="piecework")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return Ran(result.exit_code, result.stdout_bytes, result.stderr)

    return run


@pytest.fixture
def lambda_id(client):
    return client.create_lambda(0, "test")


@pytest.fixture
def idle_lambda(client):
    """A lambda that no worker can run."""
    return client.create_lambda(0, "exotic")


@pytest.fixture
def empty(client):
    """Nothing is deployed before and after a test."""

    def undeploy_all():
        for each in client.functions():
            client.undeploy(each.name)

    undeploy_all()
    yield client
    undeploy_all()
