"""What guests reach outside: lambda and operator must agree. Real server, agent, guests, Redis and HTTP server."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from guests import guest
from redis_server import PASSWORD, run_redis

from piecework import Client
from piecework.client.errors import JobFailed
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.messages import Grants

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0
Run = Callable[..., bytes]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_redis(tmp_path_factory.mktemp("redis")) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    (folder / "in" / "a").write_bytes(b"from the node")
    (folder / "in" / "link").symlink_to("/etc/passwd")
    return folder


@pytest.fixture(scope="module")
def generous(
    server: LocalServer, tmp_path_factory: pytest.TempPathFactory, web: str, redis: str, shared: Path
) -> Iterator[LocalAgent]:
    """An agent whose operator allows a lot."""
    folder = tmp_path_factory.mktemp("agent")
    options = [
        *("--slots", "1", "--allow-http", web, "--allow-http", "127.0.0.1/32", "--allow-redis", redis),
        *("--allow-files", str(folder / "files"), "--allow-env", "REGION"),
        *("--allow-dir", f"{shared / 'in'}=/in", "--allow-dir", f"{shared / 'out'}=/out:rw"),
    ]
    environ = {"REDIS_PWD": PASSWORD, "REGION": "eu"}
    with LocalAgent(server.url, folder, "generous", *options, environ=environ) as agent:
        yield agent


@pytest.fixture
def run(client: Client, generous: LocalAgent) -> Run:
    def run_lambda(name: str, grants: Grants, content: bytes = b"", *args: str, runtime: str = "wasi") -> bytes:
        lambda_id = client.create_lambda(guest(name), runtime, grants=grants, args=list(args))
        return client.result(client.submit(lambda_id, content, max_attempts=1), PATIENCE_S)

    return run_lambda


def test_http_redis_env_and_files_work_where_both_agree(run: Run, web: str):
    def ask(text: str, grants: Grants, runtime: str = "capsule") -> bytes:
        return run("capsule_g2", grants, text.encode(), runtime=runtime)

    assert ask(f"fetch GET http://{web}/", Grants(http=[web]), "capsule+http") == b"hello"
    assert ask("redis-set a:b c", Grants(redis=True), "capsule+redis+http").startswith(b"[OK]")
    assert ask("redis-get a:b", Grants(redis=True)) != b""
    assert ask("env REGION", Grants(env=["REGION"]), "default+env") == b"eu"
    assert ask("write note text", Grants(files="write"), "capsule+files") == b"file created"
    assert ask("read note", Grants(files="read")) == b"text"
    assert ask("read /in/a", Grants(dirs=["/in"]), "capsule+dir:/in") == b"from the node"


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("redis-get a", "--grant-redis"),
        ("fetch GET http://127.0.0.1:1/", "--grant-http 127.0.0.1:1"),
        ("read note", "--grant-files read"),
        ("env REGION", "--grant-env REGION"),
    ],
)
def test_what_is_not_granted_is_denied_and_the_log_says_what_would_allow_it(
    client: Client, generous: LocalAgent, text: str, advice: str
):
    job = client.submit(client.create_lambda(guest("capsule_g2"), "capsule"), text.encode(), max_attempts=1)
    with pytest.raises(JobFailed):
        client.result(job, PATIENCE_S)
    assert "denied: the lambda has no" in client.log(job).text
    assert advice in client.log(job).text


def test_what_the_operator_does_not_allow_is_denied_and_the_log_names_the_option(
    client: Client, generous: LocalAgent
):
    grants = Grants(http=["127.0.0.1:1"], dirs=["/else", "/in:rw"], env=["HOME"])
    lambda_id = client.create_lambda(guest("capsule_g2"), "capsule", grants=grants)
    job = client.submit(lambda_id, b"fetch GET http://127.0.0.1:1/", max_attempts=1)
    with pytest.raises(JobFailed):
        client.result(job, PATIENCE_S)
    log = client.log(job).text
    assert "worker-agent run --allow-http 127.0.0.1:1 would" in log
    assert "directory /else denied" in log
    assert "writing to directory /in denied" in log
    assert "variable HOME denied" in log


def test_command_reads_and_writes_what_it_was_granted(run: Run, shared: Path):
    both = Grants(dirs=["/in", "/out:rw"], files="write")
    assert run("copy_file", both, b"", "/in/a", runtime="wasi+dir:/in") == b"from the node"
    assert run("copy_file", both, b"", "/in/a", "/out/b") == b""
    assert (shared / "out" / "b").read_bytes() == b"from the node"
    assert run("copy_file", both, b"", "/in/a", "kept") == b""
    assert run("copy_file", both, b"", "kept") == b"from the node"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/etc/passwd", "No such file"),
        ("/in/../../etc/passwd", "Operation not permitted"),
        ("/in/link", "Operation not permitted"),
        ("/proc/self/environ", "No such file"),
        ("/else/a", "No such file"),
    ],
)
def test_command_gets_at_nothing_else(client: Client, generous: LocalAgent, path: str, says: str):
    lambda_id = client.create_lambda(guest("copy_file"), grants=Grants(dirs=["/in"]), args=[path])
    with pytest.raises(JobFailed) as caught:
        client.result(client.submit(lambda_id, max_attempts=1), PATIENCE_S)
    assert says in str(caught.value)


def test_worker_is_registered_with_features(client: Client, generous: LocalAgent, run: Run):
    run("echo", Grants(), b"x")
    [worker] = [each for each in client.workers() if each.name == "generous"]
    assert "capsule+http+redis+files+env+dir:/in+dir:/out" in worker.runtime
    assert "wasi+files+env+dir:/in+dir:/out" in worker.runtime


def test_password_stands_in_no_command_line_environment_or_log(generous: LocalAgent, client: Client, run: Run):
    run("echo", Grants(), b"x")
    tasks = Path(f"/proc/{generous.pid}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    assert children
    secret = PASSWORD.encode()
    for pid in children:
        assert secret not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert secret not in Path(f"/proc/{pid}/environ").read_bytes()
    assert secret not in Path(f"/proc/{generous.pid}/cmdline").read_bytes()
    assert secret not in generous.log.read_bytes()
    assert all(PASSWORD not in repr(worker) for worker in client.workers())


def test_wrong_options_end_the_agent_with_code_2_and_a_reason(tmp_path: Path):
    command = [sys.executable, "-m", "piecework", "worker", "run", "--state", str(tmp_path / "state")]
    options = [
        "--allow-http",
        "http://x",
        "--allow-redis",
        "u:hunter2@x",
        "--allow-dir",
        "/",
        "--allow-env",
        "NO_1",
    ]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    for words in ("'http://x' is no host", "REDIS_PWD", "the agent's own state", "NO_1 is not set"):
        assert words in done.stderr
    assert "hunter2" not in done.stderr
