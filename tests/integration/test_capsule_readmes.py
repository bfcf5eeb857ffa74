"""The commands of Capsule's two guides, as they stand there, against our processes: answers field by field."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from curl import curl
from patience import LONG_S, until

from piecework.http.ports import find_port
from piecework.local import LISTENING, ChildProgram, LocalAgent, LocalServer

pytestmark = pytest.mark.integration
WORKER_AGENT = Path(sys.executable).with_name("worker-agent")
HELLO = Path(__file__).parents[2] / "samples" / "capsule_hello.wasm"
JSON_HEADER = "-H 'content-type: application/json; charset=utf-8'"
REGISTRY, PROXY, WORKER, FUNCTION = 4999, 8888, 9999, 8080
"""The ports that the guides use."""

CONFIG = """\
hello:
  default:
    - http://localhost:9091
    - http://localhost:7071
hey:
  default:
    - http://localhost:9092
hallo:
  default:
    - http://localhost:9093
  orange:
    - http://localhost:6061
  yellow:
    - http://localhost:6062
"""


def start(folder: Path, name: str, *command: object, **environ: str) -> ChildProgram:
    return ChildProgram(
        name, [sys.executable, "-m", "piecework", *map(str, command)], folder / f"{name}.log", environ
    )


def listening(program: ChildProgram) -> int:
    return int(program.wait_for_line(LISTENING)[1])


@dataclass
class Town:
    """What somebody has running who followed the guides, and how they call it."""

    folder: Path
    ports: dict[int, int]

    def curl(self, command: str) -> requests.Response:
        return curl(command, self.folder, self.ports)

    def call(self, path: str) -> requests.Response:
        return self.curl(f"curl http://localhost:{PROXY}/functions/{path}")

    def local(self, port: int) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    shutil.copy(HELLO, folder / "hola.wasm")
    (folder / "config.yaml").write_text(CONFIG)
    with ExitStack() as running:
        registry = running.enter_context(
            start(folder, "registry", "server", "registry", "--port", 0, "--data", folder / "registry")
        )
        proxy = running.enter_context(
            start(
                folder,
                "proxy",
                "server",
                "proxy",
                "--port",
                0,
                "--data",
                folder / "proxy",
                "--config",
                folder / "config.yaml",
            )
        )
        ports = {REGISTRY: listening(registry), PROXY: listening(proxy), WORKER: find_port("127.0.0.1", 0)}
        town = Town(folder, ports)
        server = running.enter_context(LocalServer(folder))
        options = ["--functions", "8", "--functions-port", str(ports[WORKER])]
        options += ["--reverse-proxy", town.local(PROXY), "--registry", town.local(REGISTRY)]
        running.enter_context(LocalAgent(server.url, folder, "worker", *options))
        until(lambda: is_answering(town.local(WORKER) + "/functions/list"))
        yield town


def is_answering(url: str) -> bool:
    try:
        return requests.get(url, timeout=LONG_S).ok
    except requests.ConnectionError:
        return False


# --- The registry ---


def upload(town: Town, tag: str) -> requests.Response:
    return town.curl(
        f"""curl -X POST http://localhost:4999/upload/k33g/hola/{tag} \\
  -F "file=@../with-proxy/capsule-hola/hola.wasm" \\
  -F "info=hola function from @k33g" \\
  -H "Content-Type: multipart/form-data"
"""
    )


@pytest.fixture(scope="module")
def uploaded(town: Town) -> list[str]:
    tags = ["0.0.0", "0.0.1", "0.0.2"]
    for tag in tags:
        answer = upload(town, tag)
        assert (answer.status_code, answer.json()) == (200, {"code": "OK", "message": "🙂 hola.wasm uploaded!"})
    return tags


@pytest.mark.usefixtures("uploaded")
def test_a_module_that_was_uploaded_is_there_with_its_information(town):
    found = town.curl("curl http://localhost:4999/k33g/hola/0.0.0/hola.wasm")
    assert found.content == HELLO.read_bytes()
    assert found.headers["Content-Type"] == "application/wasm"
    assert town.curl("curl http://localhost:4999/info/k33g/hola/0.0.0").text.strip() == "hola function from @k33g"
    listed = town.curl("curl http://localhost:4999/modules").json()["modules"]
    expected = [("k33g", "hola", tag) for tag in ("0.0.0", "0.0.1", "0.0.2")]
    assert sorted((m["org"], m["module"], m["tag"]) for m in listed) == expected


@pytest.mark.usefixtures("uploaded")
def test_a_function_starts_from_where_its_module_is(town):
    port = find_port("127.0.0.1", 0)
    url = town.local(REGISTRY) + "/k33g/hola/0.0.0/hola.wasm"
    file = town.folder / "tmp" / "hola.wasm"
    command = [WORKER_AGENT, "serve", file, "--url", url, "--port", port]
    with ChildProgram("serve", list(map(str, command)), town.folder / "serve.log"):
        until(lambda: is_answering(f"http://127.0.0.1:{port}/health"))
        assert requests.get(f"http://127.0.0.1:{port}", timeout=LONG_S).json() == {"message": "hey people!"}
    assert file.read_bytes() == HELLO.read_bytes()


# --- Functions from the terminal and over HTTP ---


def test_the_first_function_runs_from_the_terminal(tmp_path):
    command = [WORKER_AGENT, "exec", HELLO]
    words = ["👋 hello world 🌍🎃", "1234", "Bob Morane"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=True)
    assert done.stdout.splitlines() == [
        "- parameter is: 👋 hello world 🌍🎃",
        "- parameter is: 1234",
        "- parameter is: Bob Morane",
        "The first parameter is: 👋 hello world 🌍🎃",
    ]


def test_the_first_http_function_answers(tmp_path):
    port = find_port("127.0.0.1", 0)
    command = [WORKER_AGENT, "serve", HELLO, "--port", port]
    command += ["--env", "MESSAGE=👋 good morning 😃"]
    with ChildProgram("serve", list(map(str, command)), tmp_path / "serve.log") as serving:
        until(lambda: is_answering(f"http://127.0.0.1:{port}/health"))
        answer = curl(
            f"""curl -v -X POST \\
  http://localhost:8080 \\
  {JSON_HEADER} \\
  -d '{{"message": "TinyGo 💙 wasm"}}'
""",
            tmp_path,
            {FUNCTION: port},
        )
        assert (answer.status_code, answer.json()) == (200, {"message": "hey people!"})
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["Message"].encode("latin-1").decode() == "👋 good morning 😃"
        until(lambda: "Environment variable: 👋 good morning 😃" in serving.read_log())
        log = serving.read_log()
    assert 'body: {"message": "TinyGo 💙 wasm"}' in log
    assert "Content-Type: application/json; charset=utf-8" in log
    assert "Content-Length: 31" in log
    assert "User-Agent: python-requests" in log


# --- Routes ---


def test_routes_of_the_file_are_there(town):
    listed = town.curl("curl http://localhost:8888/memory/functions/list").json()
    assert listed["hello"] == {"default": ["http://localhost:9091", "http://localhost:7071"]}
    assert listed["hallo"]["orange"] == ["http://localhost:6061"]


def read_routes(town: Town, function: str) -> object:
    return town.curl("curl http://localhost:8888/memory/functions/list").json().get(function)


ROUTE = """curl -v -X %s \\
  http://localhost:8888/memory/functions/%s \\
  -H 'content-type: application/json; charset=utf-8' \\
  -d '%s'
"""


def change_route(town: Town, method: str, path: str, body: str) -> str:
    """Change a route as the guide does; return what the answer says."""
    answer = town.curl(ROUTE % (method, path, body))
    assert (answer.status_code, answer.json()["code"]) == (202, "OK"), answer.text
    return answer.json()["message"]


def test_routes_are_registered_and_removed_by_requests(town):
    first = '{"function": "morgen", "revision": "default", "url": "http://localhost:5050"}'
    assert change_route(town, "POST", "registration", first) == "Function created"
    assert read_routes(town, "morgen") == {"default": ["http://localhost:5050"]}

    blue = '{"revision": "blue", "url": "http://localhost:5051"}'
    assert change_route(town, "POST", "morgen/revision", blue) == "Revision added to the function"
    another = '{"url": "http://localhost:5053"}'
    assert change_route(town, "POST", "morgen/blue/url", another) == "URL added to the revision"
    assert read_routes(town, "morgen") == {
        "blue": ["http://localhost:5051", "http://localhost:5053"],
        "default": ["http://localhost:5050"],
    }

    assert change_route(town, "DELETE", "morgen/blue/url", another) == "URL removed from the revision"
    gone = change_route(town, "DELETE", "morgen/revision", '{"revision": "blue"}')
    assert gone == "Revision removed from the function"
    assert read_routes(town, "morgen") == {"default": ["http://localhost:5050"]}
    change_route(town, "DELETE", "registration", '{"function": "morgen"}')
    assert read_routes(town, "morgen") is None


def test_a_registration_may_name_its_first_revision(town):
    body = '{"function": "abend", "revision": "magenta", "url": "http://localhost:5051"}'
    change_route(town, "POST", "registration", body)
    assert read_routes(town, "abend") == {"magenta": ["http://localhost:5051"]}


# --- Deployments ---

DEPLOY = """curl -v -X POST \\
http://localhost:9999/functions/deploy \\
-H "Expect:" \\
-H 'content-type: application/json; charset=utf-8' \\
--data-binary @- << EOF
{
    "function": "hola",
    "revision": "%s",
    "downloadUrl": "%s/k33g/hola/%s/hola.wasm",
    "envVariables": {
        "MESSAGE": "%s",
        "TOKEN": "DFRE46H5K"
    }
}
EOF
"""
ABOUT_REVISION = """curl -v -X %s \\
http://localhost:9999/functions/%s \\
-H "Expect:" \\
-H 'content-type: application/json; charset=utf-8' \\
--data-binary @- << EOF
%s
EOF
"""


def deploy(town: Town, revision: str, tag: str, message: str) -> dict[str, str]:
    answer = town.curl(DEPLOY % (revision, town.local(REGISTRY), tag, message))
    assert answer.status_code == 202, answer.text
    return answer.json()


def ask_worker(town: Town, method: str, path: str, **body: str) -> requests.Response:
    return town.curl(ABOUT_REVISION % (method, path, json.dumps(body)))


def read_message(answer: requests.Response) -> str:
    assert answer.json() == {"message": "hey people!"}
    return answer.headers["Message"].encode("latin-1").decode()


@pytest.mark.usefixtures("uploaded")
def test_functions_are_deployed_routed_and_removed(town):
    urls = deploy_all(town)
    answer = ask_worker(town, "POST", "set_default_revision", function="hola", revision="current")
    assert (answer.status_code, answer.json()) == (
        202,
        {
            "code": "DEFAULT_REVISION_REGISTERED",
            "revision": "current",
            "function": "hola",
            "message": "Default revision registered",
            "url": f"{town.local(PROXY)}/functions/hola",
        },
    )
    for path in ("hola", "hola/current", "hola/default"):
        assert read_message(town.call(path)) == "🟣 Current revision of Hola"
    check_lists(town, urls)
    remove_all(town)


def deploy_all(town: Town) -> set[str]:
    """Deploy two processes of one revision, and two other revisions; return the URLs of the two."""
    first = deploy(town, "current", "0.0.0", "🟣 Current revision of Hola")
    assert first == {
        "code": "FUNCTION_DEPLOYED",
        "function": "hola",
        "localUrl": first["localUrl"],
        "message": "Function deployed",
        "remoteUrl": f"{town.local(PROXY)}/functions/hola/current",
        "revision": "current",
    }
    second = deploy(town, "current", "0.0.0", "🟣 Current revision of Hola")
    for revision, tag, text in (("blue", "0.0.1", "🔵 Blue"), ("green", "0.0.2", "🟢 Green")):
        deploy(town, revision, tag, text)
        # On a busy machine a replica may miss a look at how it does, and has no route until it makes the next.
        until(lambda path=f"hola/{revision}": town.call(path).ok)
        assert read_message(town.call(f"hola/{revision}")) == text
    assert read_message(requests.get(first["localUrl"], timeout=LONG_S)) == "🟣 Current revision of Hola"
    urls = {first["localUrl"], second["localUrl"]}
    assert len(urls) == 2
    return urls


def check_lists(town: Town, urls: set[str]) -> None:
    listed = town.curl("curl http://localhost:9999/functions/list").json()["hola"]
    assert set(listed) == {"current", "blue", "green"}
    assert listed["current"]["wasmRegistryUrl"] == f"{town.local(REGISTRY)}/k33g/hola/0.0.0/hola.wasm"
    assert listed["current"]["isDefaultRevision"] is True
    assert listed["blue"]["isDefaultRevision"] is False
    modules = listed["current"]["wasmModules"]
    assert {module["localUrl"] for module in modules.values()} == urls
    assert all(Path(f"/proc/{pid}").exists() for pid in modules)
    for module in modules.values():
        assert module["remoteUrl"] == f"{town.local(PROXY)}/functions/hola/current"
        assert module["envVariables"] == {"MESSAGE": "🟣 Current revision of Hola", "TOKEN": "***"}
    found = read_routes(town, "hola")
    assert set(found["current"]) == set(found["default"]) == urls
    assert len(found["blue"]) == len(found["green"]) == 1


def remove_all(town: Town) -> None:
    answer = ask_worker(town, "DELETE", "remove_default_revision", function="hola")
    assert (answer.status_code, answer.json()) == (
        202,
        {"code": "DEFAULT_REVISION_REMOVED", "function": "hola", "message": "Default revision removed"},
    )
    answer = ask_worker(town, "DELETE", "revisions/downscale", function="hola", revision="current")
    assert (answer.status_code, answer.json()["code"]) == (202, "WASM_MODULE_DEPLOYMENT_REMOVED")
    assert len(read_routes(town, "hola")["current"]) == 1
    assert read_message(town.call("hola/current")) == "🟣 Current revision of Hola"
    answer = ask_worker(town, "DELETE", "revisions/deployments", function="hola", revision="current")
    assert (answer.status_code, answer.json()) == (
        202,
        {
            "code": "REVISION_DEPLOYMENT_REMOVED",
            "function": "hola",
            "message": "revision deployment removed (all processes killed)",
            "revision": "current",
        },
    )
    assert "current" not in read_routes(town, "hola")
    assert town.call("hola/current").status_code in {404, 503}
    assert read_message(town.call("hola/blue")) == "🔵 Blue"
