"""Samples in other languages, built by their own compilers, which ``make test-languages`` installs."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from guests import SAMPLES

from piecework import Client
from piecework.http.ports import find_port
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.messages import Grants
from piecework.testing import run_guest
from piecework.workshop import build as build_source, create, find_build_line

BUILDING: dict[str, Any] = runpy.run_path(str(SAMPLES / "languages.py"))
TOOLS = Path(os.environ.get("PIECEWORK_LANGUAGES", "nowhere")).absolute()
PATIENCE_S = 300.0
README = Path(__file__).parent / "capsule_readme"
GREETING = "👋 hello world 🌍🚀"
PAGE = """
<html>
<head>
<title>Wasm is fantastic 😍</title>
</head>
<body>
<h1>👋 Hello World 🌍</h1>
<h2>Served with 💜 with Capsule 💊</h2>
</body>
</html>
"""
POST = {
    "method": "POST",
    "uri": "/hello?a=b",
    "headers": {
        "content-type": "application/json; charset=utf-8",
        "Content-Length": "31",
        "user-agent": "curl/7.79.1",
    },
    "body": '{"message":"TinyGo 💜 wasm"}',
}

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not TOOLS.is_dir(), reason="needs compilers of many MB: `make test-languages` has them"),
]


def need(language: str) -> None:
    """Skip a test, saying why, when the compiler of its language is not on this machine."""
    if missing := BUILDING["find_missing"](language, TOOLS):
        pytest.skip(f"{language} needs {missing}, which is not here")


@pytest.fixture
def build(tmp_path: Path):
    """Return a function that builds a sample and returns its bytes."""

    def build_sample(language: str, name: str) -> bytes:
        need(language)
        target = tmp_path / "guest.wasm"
        BUILDING["LANGUAGES"][language][0](name, target, TOOLS)
        return target.read_bytes()

    return build_sample


@pytest.fixture
def build_capsule(tmp_path: Path):
    """Return a function that compiles a source of Capsule's documentation, unchanged, with our package."""
    need("go")
    shutil.copytree(SAMPLES / "go", tmp_path / "go")

    def build_function(name: str) -> bytes:
        shutil.copytree(README / name, tmp_path / "go" / f"capsule_{name}")
        target = tmp_path / f"{name}.wasm"
        BUILDING["build_go"](f"capsule_{name}", target, TOOLS, folder=tmp_path / "go")
        return target.read_bytes()

    return build_function


def run(client: Client, code: bytes, given: bytes = b"", **fields: Any) -> tuple[bytes, str]:
    """Run code once; return its output and its log."""
    job = client.submit(client.create_lambda(code, **fields), given, max_attempts=1)
    return client.result(job, PATIENCE_S), client.log(job).text


@pytest.mark.parametrize("language", ["go", "python", "rust", "assemblyscript"])
def test_uppercase_and_sum(client: Client, agent: LocalAgent, build, language: str):
    text, _ = run(client, build(language, "uppercase"), "grüße".encode(), runtime="default")
    assert text.decode() in ("GRÜSSE", "GRÜßE")
    number, _ = run(client, build(language, "sum"), b"[1, 2.5, -4]", runtime="default")
    assert number == b"-0.5\n"


def test_function_of_capsule_in_go(client: Client, agent: LocalAgent, build):
    answer, log = run(client, build("go", "capsule_greeting"), "Zoë".encode(), runtime="capsule")
    assert (answer.decode(), log) == ("Hello Zoë!", "greeting Zoë\n")


def test_function_of_funless_in_rust(client: Client, agent: LocalAgent, build):
    answer, _ = run(client, build("rust", "funless_fetch"), b'{"say": "hello"}', runtime="funless")
    assert answer == b'"HELLO"'


@pytest.fixture(scope="module")
def generous(server: LocalServer, tmp_path_factory: pytest.TempPathFactory, web: str):
    """An agent whose operator lets guests use a web server of this machine, and one variable."""
    options = ["--allow-http", web, "--allow-http", "127.0.0.1/32", "--allow-env", "REGION"]
    folder = tmp_path_factory.mktemp("generous")
    with LocalAgent(server.url, folder, "generous", *options, environ={"REGION": "eu"}) as agent:
        yield agent


@pytest.mark.parametrize("language", ["rust", "assemblyscript"])
def test_function_of_funless_fetches_a_url(client: Client, generous: LocalAgent, build, web: str, language: str):
    given, grants = json.dumps({"url": f"http://{web}/"}).encode(), Grants(http=[web])
    answer, _ = run(client, build(language, "funless_fetch"), given, runtime="funless+http", grants=grants)
    assert answer == b'{"status":200,"bytes":5}'


def test_function_of_capsule_in_go_fetches_a_url(client: Client, generous: LocalAgent, build, web: str):
    code, given = build("go", "capsule_greeting"), f"fetch http://{web}/".encode()
    answer, _ = run(client, code, given, runtime="capsule+http", grants=Grants(http=[web]))
    assert answer == b"hello"


def test_component_reaches_nothing_but_the_variables_that_it_is_granted(
    client: Client, generous: LocalAgent, tmp_path: Path, web: str
):
    need("python")
    target = tmp_path / "reach.wasm"
    BUILDING["build_python"]("reach", target, TOOLS, folder=Path(__file__).parent / "components")
    port = web.partition(":")[2].encode()
    grants = Grants(http=["*"], env=["REGION"], dirs=["/tmp"])
    answer, _ = run(client, target.read_bytes(), port, runtime="component+env", grants=grants)
    assert answer.decode().splitlines() == [
        "REGION=eu",
        "variables REGION",
        "connect failed PermissionError",
        "connect by name failed PermissionError",
        "resolve failed LookupError",
        "listen failed PermissionError",
        "send failed PermissionError",
        *(f"{way} failed FileNotFoundError" for way in ("read", "read above", "list", "write")),
    ]


def test_text_example_of_capsule(client: Client, agent: LocalAgent, build_capsule):
    answer, log = run(client, build_capsule("text"), runtime="capsule", args=[GREETING, "1234", "Bob Morane"])
    assert answer.decode() == f"The first parameter is: {GREETING}"
    assert log.splitlines() == [f"- parameter is: {text}" for text in (GREETING, "1234", "Bob Morane")]


@pytest.mark.parametrize("message", [None, "👋 good morning 🌞"])
def test_http_example_of_capsule(client: Client, agent: LocalAgent, build_capsule, message: str | None):
    env = {} if message is None else {"MESSAGE": message}
    answer, log = run(
        client, build_capsule("http"), json.dumps(POST).encode(), runtime="capsule", mode="http", env=env
    )
    assert json.loads(answer) == {
        "status": 500 if message is None else 200,
        "headers": {"Content-Type": "application/json; charset=utf-8", "Message": "👋 hello world 🌍"},
        "body": '{"error":"MESSAGE is empty","from":"host"}' if message is None else '{"message": "hey people!"}',
    }
    said = [line for line in log.splitlines() if not line.startswith("hostGetEnv denied")]
    assert said == [
        '📝 body: {"message":"TinyGo 💜 wasm"}',
        "Content-Type: application/json; charset=utf-8",
        "Content-Length: 31",
        "User-Agent: curl/7.79.1",
        "😡 MESSAGE is empty" if message is None else f"Environment variable: {message}",
    ]


def test_html_example_of_capsule(client: Client, agent: LocalAgent, build_capsule):
    answer, _ = run(client, build_capsule("html"), runtime="capsule", mode="http")
    assert json.loads(answer) == {
        "status": 200, "headers": {"Content-Type": "text/html; charset=utf-8"}, "body": PAGE
    }  # fmt: skip


def test_every_function_of_the_host_answers(client: Client, agent: LocalAgent, build_capsule):
    answer, _ = run(client, build_capsule("tour"), json.dumps(POST).encode(), runtime="capsule", mode="http")
    lines = json.loads(answer)["body"].splitlines()
    assert lines[:7] == [
        "🏓 pong: hi : 1", "{}", "[OK](key:)", "[OK](key:value)", "value", "error: key does not exist",
        "capsule_version key",
    ]  # fmt: skip
    assert all(line.startswith("error: ") for line in lines[7:-1])
    assert lines[-1] == "POST /hello?a=b b"


@pytest.mark.parametrize(("name", "language"), [("js", "javascript"), ("python", "python")])
def test_new_function_for_http_passes_its_test_and_builds_as_the_sample_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, language: str
):
    need(language)
    monkeypatch.setenv("PATH", f"{TOOLS / 'bin'}:{os.environ['PATH']}")
    source = create(name, "shout-it", tmp_path, http=True)[0]
    (tmp_path / "node_modules").symlink_to(TOOLS / "node_modules")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "shout-it"]
    ran = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    sample = Path(shutil.copy(SAMPLES / "http" / f"hello{source.suffix}", source.parent))
    built = build_source(sample, (find_build_line(source) or "").replace(source.stem, "hello"))
    assert run_guest(built, timeout_s=PATIENCE_S).check() == b"POST /\n"


STARTS = re.findall(
    r"^### ([^\n]*)\n(?:(?!^###).)*?```sh\n(.*?)```",
    (SAMPLES.parent / "docs" / "guests.md").read_text().partition("## Start in")[2],
    re.DOTALL | re.MULTILINE,
)
NEEDED = {
    "Go": "go",
    "Rust": "rust",
    "AssemblyScript": "assemblyscript",
    "Python": "python",
    "JavaScript": "javascript",
}
"""What a start is for, by a word in its title."""


@pytest.mark.parametrize(("title", "lines"), STARTS, ids=[title for title, _ in STARTS])
def test_start_of_the_documents(server: LocalServer, agent: LocalAgent, tmp_path: Path, title: str, lines: str):
    """All but what installs compilers; Rust's target has had two names, and its compiler may not be the first."""
    for word, language in NEEDED.items():
        if word in title:
            need(language)
    rustc, target = BUILDING["find_rust"]() or ("/nowhere", "")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rustc").symlink_to(rustc)
    lines = re.sub(r"^(pip|npm) install.*", "", lines, flags=re.MULTILINE)
    lines = lines.replace("--target wasm32-wasi ", f"--target {target} ").replace(
        "8080", str(find_port("127.0.0.1", 0))
    )
    if (TOOLS / "node_modules").exists():
        (tmp_path / "node_modules").symlink_to(TOOLS / "node_modules")
    places = [str(tmp_path / "bin"), str(Path(sys.executable).parent), str(TOOLS / "bin"), os.environ["PATH"]]
    env = os.environ | {"PIECEWORK_URL": server.url, "PIECEWORK": str(SAMPLES.parent), "PATH": ":".join(places)}
    done = subprocess.run(
        ["bash", "-e", "-c", lines], cwd=tmp_path, env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wanted = [*re.findall(r"      # (.*)$", lines, re.MULTILINE), "HELLO"][0]
    assert done.stdout.splitlines()[-1] == wanted
