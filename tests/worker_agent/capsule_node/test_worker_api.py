"""The API of Capsule's workers: its README's requests, field by field, and what it refuses."""

import hashlib
import http.client
import json
import os
import signal
import socket

import pytest
from deployment_life import MODULE, OTHER_PATH, PATH
from patience import PATIENCE_S, until
from sockets import say

from piecework.worker_agent.capsule_node import errors
from piecework.worker_agent.capsule_node.api import ERRORS, make_app
from piecework.worker_agent.capsule_node.listening import Listener
from piecework.worker_agent.errors import AgentError

pytestmark = pytest.mark.integration

HERE = "http://localhost:9999"


@pytest.fixture
def client(life, proxy, web):
    app = make_app(life.local, token=None, proxy_url=proxy.url, registry=web.url)
    return app.test_client()


@pytest.fixture
def ask(client):
    """Return a function that sends a request and returns status and answer."""

    def send(method, path, body=None, **more):
        answer = client.open(path, method=method, **{"json": body, "base_url": HERE, **more})
        return answer.status_code, answer.get_json()

    return send


@pytest.fixture
def deploy(ask, web):
    def send(revision="current", path=PATH, **env):
        body = {"function": "hola", "revision": revision, "downloadUrl": web.url + path, "envVariables": env}
        return ask("POST", "/functions/deploy", body)

    return send


def test_deployment_answers_as_capsule_did(deploy, proxy):
    status, answer = deploy(MESSAGE="🟣 Current revision of Hola", TOKEN="DFRE46H5K")
    assert status == 202
    port = answer["localUrl"].removeprefix("http://localhost:")
    assert port.isdecimal()
    assert answer == {
        "code": "FUNCTION_DEPLOYED",
        "function": "hola",
        "localUrl": f"http://localhost:{port}",
        "message": "Function deployed",
        "remoteUrl": f"{proxy.url}/functions/hola/current",
        "revision": "current",
    }


def test_default_revision_is_set_and_removed_as_capsule_did(ask, deploy, proxy):
    deploy()
    assert ask("POST", "/functions/set_default_revision", {"function": "hola", "revision": "current"}) == (
        202,
        {
            "code": "DEFAULT_REVISION_REGISTERED",
            "function": "hola",
            "message": "Default revision registered",
            "revision": "current",
            "url": f"{proxy.url}/functions/hola",
        },
    )
    assert ask("DELETE", "/functions/remove_default_revision", {"function": "hola"}) == (
        202,
        {"code": "DEFAULT_REVISION_REMOVED", "function": "hola", "message": "Default revision removed"},
    )


def test_deployments_are_removed_as_capsule_did(ask, deploy, life):
    deploy()
    deploy()
    pid = life.local.replicas()[-1].pid
    body = {"function": "hola", "revision": "current"}
    status, answer = ask("DELETE", "/functions/revisions/downscale", body)
    assert status == 202
    assert answer.items() >= {"code": "WASM_MODULE_DEPLOYMENT_REMOVED", "pid": pid, **body}.items()
    assert ask("DELETE", "/functions/revisions/deployments", body) == (
        202,
        {
            "code": "REVISION_DEPLOYMENT_REMOVED",
            "function": "hola",
            "message": "revision deployment removed (all processes killed)",
            "revision": "current",
        },
    )
    assert life.supervisor.replicas() == []


def test_whole_function_is_removed(ask, deploy, life):
    deploy()
    deploy("blue")
    status, answer = ask("DELETE", "/functions/deployments", {"function": "hola"})
    assert (status, answer["code"], answer["function"]) == (202, "FUNCTION_DEPLOYMENT_REMOVED", "hola")
    assert life.supervisor.replicas() == []


def test_list_has_what_capsules_had_without_secrets(ask, deploy, life, web, proxy):
    deploy(MESSAGE="one", TOKEN="this is not a header token", redis_pwd="x", API_KEY="y")
    deploy("blue", OTHER_PATH)
    ask("POST", "/functions/set_default_revision", {"function": "hola", "revision": "current"})
    current, blue = life.local.replicas()
    assert ask("GET", "/functions/list") == (
        200,
        {
            "hola": {
                "blue": {
                    "isDefaultRevision": False,
                    "wasmModules": {
                        str(blue.pid): {
                            "envVariables": {},
                            "localUrl": blue.local_url,
                            "remoteUrl": f"{proxy.url}/functions/hola/blue",
                        }
                    },
                    "wasmRegistryUrl": web.url + OTHER_PATH,
                },
                "current": {
                    "isDefaultRevision": True,
                    "wasmModules": {
                        str(current.pid): {
                            "envVariables": {
                                "MESSAGE": "one",
                                "TOKEN": "***",
                                "redis_pwd": "***",
                                "API_KEY": "***",
                            },
                            "localUrl": current.local_url,
                            "remoteUrl": f"{proxy.url}/functions/hola/current",
                        }
                    },
                    "wasmRegistryUrl": web.url + PATH,
                },
            }
        },
    )


def test_list_says_why_a_replica_does_not_run(ask, deploy, life, monkeypatch):
    deploy()
    [view] = life.local.replicas()
    monkeypatch.setattr(life.supervisor.replicas()[0].starter, "_spec", None)
    os.kill(view.pid, signal.SIGKILL)
    until(lambda: life.local.replicas()[0].error != "")
    [module] = ask("GET", "/functions/list")[1]["hola"]["current"]["wasmModules"].values()
    assert "SIGKILL" in module["error"]


def test_log_of_a_revision_is_told_by_process(ask, deploy, life):
    port = int(deploy()[1]["localUrl"].rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("POST", "/log", "hola é".encode())
    pid = connection.getresponse().read().decode()
    connection.close()
    until(lambda: ask("GET", "/functions/hola/current/log") == (200, {pid: "hola é\n"}))
    assert ask("GET", "/functions/hola/blue/log")[1]["code"] == "ERROR_REVISION_NOT_FOUND"


def test_module_of_the_registry_is_deployed_by_its_name_and_digest(ask, life, web):
    body = {"function": "hola", "revision": "blue", "downloadUrl": "k33g/hola/0.0.0"}
    assert ask("POST", "/functions/deploy", body)[0] == 202
    assert life.local.replicas()[0].saved.url == web.url + PATH
    digest = hashlib.sha256(MODULE).hexdigest()
    assert ask("POST", "/functions/deploy", {**body, "downloadUrl": f"k33g/hola/0.0.0@sha256:{digest}"})[0] == 202
    status, answer = ask(
        "POST", "/functions/deploy", {**body, "downloadUrl": f"k33g/hola/0.0.0@sha256:{'0' * 64}"}
    )
    assert (status, answer["code"]) == (422, "ERROR_MODULE_INVALID")
    assert ask("POST", "/functions/deploy", {**body, "sha256": "0" * 64})[1]["code"] == "ERROR_MODULE_INVALID"


@pytest.mark.parametrize(
    ("change", "status", "code", "message"),
    [
        ({"function": 1}, 400, "ERROR_JSON_BINDING", "function"),
        ({"function": "a/b"}, 400, "ERROR_JSON_BINDING", "function"),
        ({"function": ".."}, 400, "ERROR_JSON_BINDING", "no name of a function"),
        ({"revision": ""}, 400, "ERROR_JSON_BINDING", "revision"),
        ({"revision": "é"}, 400, "ERROR_JSON_BINDING", "revision"),
        ({"envVariables": {"A": 1}}, 400, "ERROR_JSON_BINDING", "envVariables"),
        ({"envVariables": {"A=B": "x"}}, 400, "ERROR_JSON_BINDING", "envVariables"),
        ({"envVariables": {"A": "x\0"}}, 400, "ERROR_JSON_BINDING", "envVariables"),
        ({"downloadUrl": "hola"}, 400, "ERROR_MODULE_URL", "no http or https URL"),
        ({"downloadUrl": "k33g/../0.0.0"}, 400, "ERROR_MODULE_URL", "no http or https URL"),
        ({"downloadUrl": "file:///etc/passwd"}, 502, "ERROR_DOWNLOAD", "must begin with http"),
        ({"downloadUrl": "k33g/hola/9.9.9"}, 502, "ERROR_DOWNLOAD", "404 Not Found"),
        ({"downloadUrl": "http://127.0.0.1:1/x.wasm"}, 502, "ERROR_DOWNLOAD", "connection refused"),
        ({"envVariables": {"STAND_IN": "exit"}}, 422, "ERROR_FUNCTION_NOT_STARTED", "the module loops"),
    ],
)
def test_deployments_that_cannot_be_are_refused_with_the_reason(ask, life, change, status, code, message):
    body = {"function": "hola", "revision": "blue", "downloadUrl": "k33g/hola/0.0.0"}
    found, answer = ask(
        "POST", "/functions/deploy", {name: each for name, each in {**body, **change}.items() if each is not None}
    )
    assert (found, answer["code"]) == (status, code)
    assert message in answer["message"]
    assert life.supervisor.replicas() == []


def test_other_refusals(ask, deploy):
    unknown = {"function": "hola", "revision": "blue"}
    assert ask("DELETE", "/functions/revisions/downscale", unknown)[1]["code"] == "ERROR_FUNCTION_NOT_FOUND"
    deploy()
    status, answer = ask("POST", "/functions/set_default_revision", unknown)
    assert (status, answer["code"]) == (404, "ERROR_REVISION_NOT_FOUND")
    assert ask("GET", "/nowhere") == (404, {"code": "PAGE_NOT_FOUND", "message": "😢 Page not found 🥵"})
    assert ask("GET", "/functions/deploy")[1]["code"] == "ERROR_METHOD_NOT_ALLOWED"
    status, answer = deploy(path=OTHER_PATH)
    assert (status, answer["code"]) == (409, "ERROR_REVISION_ALREADY_EXISTS")


def test_body_must_be_announced_as_json_so_that_no_page_can_send_it(ask):
    for body in ({"data": "{}", "content_type": "text/plain"}, {"data": {"function": "hola"}}, {}):
        status, answer = ask("DELETE", "/functions/deployments", **body)
        assert (status, answer["code"]) == (415, "ERROR_JSON_BINDING")
    status, answer = ask("DELETE", "/functions/deployments", data="{", content_type="application/json")
    assert (status, answer["code"]) == (400, "ERROR_JSON_BINDING")


def test_body_that_is_too_large_is_refused(ask):
    status, answer = ask("POST", "/functions/deploy", data=b"x" * 2_000_000, content_type="application/json")
    assert (status, answer["code"]) == (413, "ERROR_REQUEST_ENTITY_TOO_LARGE")


def test_other_names_of_this_node_are_refused_without_a_token(ask):
    assert ask("GET", "/functions/list", base_url="http://evil.test:9999")[0] == 403
    assert ask("GET", "/functions/list", base_url="http://127.0.0.1:9999")[0] == 200


@pytest.mark.parametrize("hosts", ["", "Host: localhost\r\nHost: evil.test\r\n", "Host: localhost/\r\n"])
def test_a_request_that_does_not_name_one_host_is_refused(life, hosts):
    listener = Listener(make_app(life.local, token=None), "127.0.0.1", 0)
    listener.start()
    try:
        sent = f"GET /health HTTP/1.1\r\nConnection: close\r\n{hosts}\r\n".encode()
        status, told = say(listener.port, sent)
    finally:
        listener.stop(1)
    assert (status, json.loads(told)["code"]) == (400, "ERROR_BAD_HOST")


def test_token_must_be_shown_but_for_health(life):
    client = make_app(life.local, token="secret").test_client()
    assert client.get("/functions/list").status_code == 401
    assert client.get("/functions/list", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/functions/list", headers={"Authorization": "Bearer é"}).status_code == 401
    assert client.get("/functions/list", headers={"Authorization": "Bearer secret"}).get_json() == {}
    assert client.get("/health").data == b"OK"


def test_every_error_of_deployments_has_an_answer():
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, AgentError)]
    assert len(classes) >= 6
    assert set(classes) <= set(ERRORS)


def test_it_answers_over_the_network_and_ends(life):
    listener = Listener(make_app(life.local, token=None), "127.0.0.1", 0)
    with pytest.raises(AgentError, match=f"cannot listen on 127.0.0.1 port {listener.port}"):
        Listener(make_app(life.local, token=None), "127.0.0.1", listener.port)
    listener.start()
    connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=PATIENCE_S)
    connection.request("GET", "/functions/list")
    assert connection.getresponse().read() == b"{}\n"
    connection.close()
    listener.stop(5)
    assert not listener._thread.is_alive()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", listener.port), 1)
