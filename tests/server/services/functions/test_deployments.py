"""Deploying, scaling, routing by name, removing: what the requests of people do."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from house import House

from piecework.protocol.names import ModuleName
from piecework.server.store.records import Module
from piecework.server.store.stock import modules

SAMPLES = Path(__file__).parents[4] / "samples"
HOLA = "k33g/hola/0.0.1"


def upload(house: House, name: str = "echo.wasm") -> str:
    return house.call(
        "POST", "/data", data=(SAMPLES / name).read_bytes(), content_type="application/octet-stream"
    )["id"]


def put(house: House, name: str = "hola/blue", *, status: int = 200, **body: Any) -> dict[str, Any]:
    if not body.keys() & {"codex", "module", "lambda"}:
        body["codex"] = upload(house)
    return house.call("PUT", f"/deployments/{name}", body, status=status)


def push(house: House, name: str = HOLA, file: str = "echo.wasm") -> str:
    """Give a module a name in the registry; returns its digest."""
    blob = house.services.data.get(int(upload(house, file)))
    org, module, tag, _ = ModuleName.parse(name)
    new = Module(org, module, tag, blob.id, blob.sha256, blob.size, "wasi", "", 1)
    house.services.database.write(lambda c: modules.delete_module(c, org, module, tag))
    assert house.services.database.write(lambda c: modules.add_module(c, new))
    return blob.sha256.hex()


def revision(info: dict[str, Any], name: str = "blue") -> dict[str, Any]:
    [found] = [each for each in info["revisions"] if each["name"] == name]
    return found


def test_a_deployment_makes_the_function_its_revision_and_a_lambda_of_mode_http(house: House):
    info = put(house, env={"MESSAGE": "hola", "API_KEY": "k"}, args=["-v"], replicas=2)
    blue = revision(info)
    assert (info["name"], info["default"], blue["wanted"], blue["share"]) == ("hola", "blue", 2, 1.0)
    assert (blue["runtime"], blue["args"]) == ("wasi", ["-v"])
    assert blue["env"] == {"MESSAGE": "hola", "API_KEY": "***"}
    stored = house.services.lambdas.get(int(blue["lambda"]))
    assert (stored.options.mode, stored.name, stored.options.env["API_KEY"]) == ("http", "hola/blue", "k")
    assert house.call("GET", "/functions") == house.call("GET", "/deployments") | {"functions": [info]}


def test_tags_and_grants_in_another_order_are_the_same_revision(house: House):
    code = upload(house)
    put(
        house,
        codex=code,
        tags=["a", "b"],
        env={"A": "1", "B": "2"},
        grants={"http": ["x", "y"], "env": ["M", "N"]},
    )
    put(
        house,
        codex=code,
        tags=["b", "a"],
        env={"B": "2", "A": "1"},
        grants={"env": ["N", "M"], "http": ["y", "x"]},
    )
    refused = put(house, codex=code, tags=["b", "a"], env={"A": "1", "B": "2"}, grants={"http": ["x"]}, status=409)
    assert "with other grants;" in refused["message"]


def test_a_module_is_pinned_by_its_digest_and_its_runtime_found_out(house: House):
    digest = push(house, file="capsule_g4.wasm")
    blue = revision(put(house, module=HOLA))
    assert (blue["module"], blue["checksum"]) == (f"{HOLA}@sha256:{digest}", digest)
    assert (blue["runtime"], blue["wanted"]) == ("capsule", 1)
    assert revision(put(house, module=f"{HOLA}@sha256:{digest.upper()}"))["lambda"] == blue["lambda"]


def test_a_tag_that_was_moved_does_not_change_a_revision(house: House):
    digest = push(house)
    put(house, module=HOLA)
    push(house, file="sum.wasm")
    assert "with other code;" in put(house, module=HOLA, status=409)["message"]
    assert revision(house.call("GET", "/deployments/hola"))["checksum"] == digest
    refusal = put(house, "hola/green", module=f"{HOLA}@sha256:{digest}", status=404)
    assert (refusal["code"], "has the digest" in refusal["message"]) == (1001, True)


def test_a_lambda_is_used_as_it_is_when_it_answers_requests_else_one_like_it_is_made(house: House):
    made = house.new_lambda(codex=upload(house), runtime="wasi", env={"A": "1"}, tags=["+eu"], mode="http")
    assert revision(put(house, **{"lambda": made}))["lambda"] == made
    other = house.new_lambda(codex=upload(house), runtime="wasi", env={"A": "1"}, tags=["+eu"])
    green = revision(put(house, "hola/green", args=["x"], **{"lambda": other}), "green")
    assert green["lambda"] != other
    assert (green["env"], green["tags"], green["args"]) == ({"A": "1"}, ["+eu"], ["x"])


def test_the_same_again_changes_nothing_but_the_number_of_replicas(house: House):
    first = put(house, replicas=2, env={"A": "1"})
    assert put(house, env={"A": "1"}) == first
    again = put(house, replicas=3, env={"A": "1"})
    assert revision(again) == revision(first) | {"wanted": 3, "advice": again["revisions"][0]["advice"]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"env": {"TOKEN": "other"}}, "other env;"),
        ({"args": ["-q"], "limits": {"timeout_s": 9}}, "other args and limits;"),
        ({"tags": ["+eu"], "grants": {"redis": True}}, "other tags and grants;"),
        ({"runtime": "wasi+simd"}, "other runtime;"),
    ],
)
def test_a_revision_with_other_options_is_another_revision(house: House, change, named):
    put(house, env={"TOKEN": "secret"})
    refusal = put(house, status=409, **{"env": {"TOKEN": "secret"}} | change)
    assert refusal["code"] == 1104
    assert named in refusal["message"]
    assert "secret" not in refusal["message"]


def test_two_deploys_of_the_same_revision_at_once_make_one(house: House):
    codex = upload(house)
    start = threading.Barrier(6)

    def deploy(number: int) -> int:
        start.wait()
        body = {"codex": codex, "env": {"A": "1" if number % 2 else "2"}}
        return house.app.test_client().put("/deployments/hola/blue", json=body).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(deploy, range(6)))
    assert statuses == [200] * 3 + [409] * 3
    assert len(house.call("GET", "/deployments/hola")["revisions"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "exactly one of"),
        ({"module": HOLA, "codex": "1"}, 422, "exactly one of"),
        ({"module": "hola"}, 422, "ORG/MODULE/TAG"),
        ({"module": "k33g/none/1"}, 404, "there is no module k33g/none/1"),
        ({"codex": "99"}, 422, "there is no blob 99"),
        ({"lambda": "99"}, 404, "there is no lambda 99"),
        ({"codex": "C", "replicas": -1}, 422, "replicas"),
        ({"codex": "C", "replicas": 1001}, 422, "replicas"),
        ({"codex": "C", "limits": {"timeout_s": 0}}, 422, "limits.timeout_s"),
        ({"codex": "C", "grants": {"http": ["http://x/"]}}, 422, "grants.http"),
        ({"codex": "C", "runtime": "capsule"}, 422, "cannot run under capsule"),
        ({"codex": "C", "env": {"A=B": "x"}}, 422, "name of a variable"),
        ({"codex": "C", "env": {"": "x"}}, 422, "name of a variable"),
        ({"codex": "C", "env": {"A": "\0"}}, 422, "the character NUL"),
        ({"codex": "C", "args": ["\0"]}, 422, "the character NUL"),
        ({"codex": "T"}, 422, "name the runtime"),
        ({"codex": "H"}, 422, "HTML page"),
        ({"codex": "B"}, 422, "702"),
    ],
)
def test_what_cannot_be_deployed_is_refused_and_leaves_nothing_behind(house: House, body, status, said):
    code = {"T": b"print(1)", "H": b"<!doctype html><p>404", "B": b"\0asm\1\0\0\0\xff\xff"}
    if body.get("codex") in {*code, "C"}:
        content = code.get(body["codex"]) or (SAMPLES / "echo.wasm").read_bytes()
        body = body | {
            "codex": house.call("POST", "/data", data=content, content_type="application/octet-stream")["id"]
        }
    refusal = house.call("PUT", "/deployments/hola/blue", body, status=status)
    assert said in f"{refusal['code']} {refusal['message']}"
    assert house.call("GET", "/functions")["functions"] == []


def test_a_deterministic_lambda_answers_no_calls(house: House):
    made = house.new_lambda(codex=upload(house), runtime="wasi", deterministic=True)
    assert "deterministic" in put(house, status=422, **{"lambda": made})["message"]


def test_a_recorded_lambda_answers_no_calls(house: House):
    made = house.new_lambda(codex=upload(house), runtime="wasi", record=True)
    refused = put(house, status=422, **{"lambda": made})["message"]
    assert refused.startswith(
        "the lambda is recorded: a journal is kept beside a job, which a call has not; `record`"
    )


@pytest.mark.parametrize("name", ["a%20b/blue", "hola/..", "hola/%2e%2e", "hola/" + "x" * 101, "h%C3%B6la/blue"])
def test_names_that_are_none_are_refused(house: House, name):
    assert house.call("PUT", f"/deployments/{name}", {}, status=None)["code"] in {3, 10, 11}
    assert house.call("GET", "/functions")["functions"] == []


def test_a_revision_is_scaled_and_one_without_code_is_not(house: House):
    put(house)
    assert revision(house.call("PATCH", "/deployments/hola/blue", {"replicas": 0}))["wanted"] == 0
    house.call("PATCH", "/deployments/hola/blue", {"replicas": 1001}, status=422)
    house.call("PATCH", "/deployments/hola/blue", {}, status=422)
    refusal = house.call("PATCH", "/deployments/hola/red", {"replicas": 1}, status=404)
    assert (refusal["code"], refusal["message"]) == (1103, "the function hola has no revision red; it has blue")
    assert house.call("PATCH", "/deployments/hey/red", {"replicas": 1}, status=404)["code"] == 1101


def test_the_default_is_the_first_revision_until_somebody_says_otherwise(house: House):
    put(house)
    assert put(house, "hola/green")["default"] == "blue"
    assert put(house, "hola/red", default=True)["default"] == "red"
    info = house.call("PUT", "/deployments/hola/default", {"revision": "green"})
    assert {each["name"]: each["share"] for each in info["revisions"]} == {"blue": 0, "green": 1, "red": 0}
    house.call("PUT", "/deployments/hola/default", {"revision": "pink"}, status=404)
    assert "default" not in house.call("DELETE", "/deployments/hola/default")


def test_a_split_divides_and_takes_the_defaults_place_and_the_reverse(house: House):
    put(house)
    put(house, "hola/green")
    info = house.call("PUT", "/deployments/hola/split", {"weights": {"blue": 90, "green": 10}})
    assert (info["split"], "default" in info) == ({"blue": 90, "green": 10}, False)
    assert {each["name"]: each["share"] for each in info["revisions"]} == {"blue": 0.9, "green": 0.1}
    info = house.call("PUT", "/deployments/hola/default", {"revision": "green"})
    assert ("split" in info, info["default"]) == (False, "green")


@pytest.mark.parametrize(
    ("weights", "status"),
    [({}, 422), ({"blue": 0}, 422), ({"blue": -1}, 422), ({"blue": 1.5}, 422), ({"blue": 1, "pink": 1}, 404)],
)
def test_a_split_that_makes_no_sense_is_refused(house: House, weights, status):
    put(house)
    house.call("PUT", "/deployments/hola/split", {"weights": weights}, status=status)
    assert house.call("GET", "/deployments/hola")["default"] == "blue"


def test_a_revision_that_calls_go_to_is_removed_only_by_force(house: House):
    put(house)
    put(house, "hola/green")
    put(house, "hola/red")
    refusal = house.call("DELETE", "/deployments/hola/blue", status=409)
    assert (refusal["code"], "gets the calls" in refusal["message"]) == (1106, True)
    house.call("DELETE", "/deployments/hola/red")
    house.call("DELETE", "/deployments/hola/blue?force=true")
    info = house.call("GET", "/deployments/hola")
    assert ([each["name"] for each in info["revisions"]], "default" in info) == (["green"], False)
    house.call("DELETE", "/deployments/hola/blue", status=404)


def test_what_is_removed_by_force_leaves_the_split(house: House):
    put(house)
    put(house, "hola/green")
    house.call("PUT", "/deployments/hola/split", {"weights": {"blue": 90, "green": 10}})
    house.call("DELETE", "/deployments/hola/green", status=409)
    house.call("DELETE", "/deployments/hola/green?force=true")
    assert house.call("GET", "/deployments/hola")["split"] == {"blue": 90}


def test_with_its_last_revision_a_function_goes_and_its_name_is_free_again(house: House):
    put(house, env={"A": "1"})
    house.call("DELETE", "/deployments/hola/blue")
    assert house.call("GET", "/deployments/hola", status=404)["code"] == 1101
    assert revision(put(house, env={"A": "2"}))["env"] == {"A": "2"}


def test_a_function_goes_as_a_whole(house: House):
    put(house)
    put(house, "hola/green")
    house.call("DELETE", "/deployments/hola")
    assert house.call("GET", "/functions")["functions"] == []
    house.call("DELETE", "/deployments/hola", status=404)


def test_it_is_said_why_replicas_have_no_host(house: House):
    def advice() -> str:
        return revision(house.call("GET", "/deployments/hola")).get("advice", "")

    def report(worker: str, slots: int) -> None:
        house.call("POST", f"/worker/{worker}/functions", {"slots": slots})

    put(house, replicas=3, tags=["+eu"])
    assert "3 replicas have no host: no worker runs functions now" in advice()
    report(house.new_worker("wasi"), 9)
    assert advice() == "3 replicas have no host: no worker that runs functions offers wasi and has the tags +eu"
    node = house.new_worker("wasi", tags=["eu"])
    report(node, 2)
    assert advice() == "1 replica has no host: every worker that could run it is full"
    report(node, 3)
    assert advice() == ""
    house.clock.forward(60)
    house.restart()
    house.call("PATCH", "/deployments/hola/blue", {"replicas": 4})
    assert "no worker runs functions now" in advice()


def test_logs_of_replicas_are_read_with_where_they_begin(house: House):
    put(house)
    node = house.new_worker("wasi", name="kitchen")
    [order] = house.call("POST", f"/worker/{node}/functions", {"slots": 1})["replicas"]
    said = {"id": order["id"], "state": "running", "url": "http://h", "log": "aG9sYQr/", "log_start": 10}
    house.call("POST", f"/worker/{node}/functions", {"slots": 1, "replicas": [said]})
    [log] = house.call("GET", "/deployments/hola/blue/log")["replicas"]
    assert log == {
        "replica": order["id"], "worker_name": "kitchen", "text": "hola\n\ufffd", "offset": 10, "next": 16,
    }  # fmt: skip
    house.call("GET", "/deployments/hola/red/log", status=404)


def test_logs_of_replicas_that_ended_are_read_before_those_that_there_are(house: House):
    put(house)
    node = house.new_worker("wasi", name="kitchen")

    def report(*texts: bytes) -> Any:
        [order] = house.call("POST", f"/worker/{node}/functions", {"slots": 1})["replicas"]
        said = {"id": order["id"], "state": "running", "url": "http://h", "log_start": 0}
        for text in texts:
            report = {"slots": 1, "replicas": [said | {"log": base64.b64encode(text).decode()}]}
            house.call("POST", f"/worker/{node}/functions", report)
        return order["id"]

    def read(after: str = "") -> list[tuple[str, str, bool]]:
        parts = house.call("GET", f"/deployments/hola/blue/log?after={after}")["replicas"]
        return [(each["replica"], each["text"], "ended_at" in each) for each in parts]

    first = report(b"it crashes")
    again = report(b"new")  # its first report names no process: the one before is gone
    assert again == first
    assert read() == [(first, "it crashes", True), (first, "new", False)]
    ended, _ = house.call("GET", "/deployments/hola/blue/log")["replicas"]
    assert ended["ended_at"] == house.clock() / 1000
    assert read(f"{first}:1") == [(first, "ew", False)]
    house.call("PATCH", "/deployments/hola/blue", {"replicas": 0})
    house.call("POST", f"/worker/{node}/functions", {"slots": 1})
    assert read() == [(first, "it crashes", True), (first, "new", True)]


def test_lists_of_lambdas_show_no_secrets_of_functions(house: House):
    made = revision(put(house, env={"TOKEN": "k", "A": "1"}))["lambda"]
    assert house.call("GET", f"/lambda/{made}?view=full")["env"] == {"TOKEN": "***", "A": "1"}
    assert house.call("GET", "/lambda")["lambdas"][0]["env"] == {"TOKEN": "***", "A": "1"}


def test_a_change_counts_for_the_next_call(house: House):
    put(house)
    put(house, "hola/green")
    assert house.services.routing.get_function("hola").alias == "blue"
    house.call("PUT", "/deployments/hola/default", {"revision": "green"})
    assert house.services.routing.get_function("hola").alias == "green"
    house.call("DELETE", "/deployments/hola")
    assert "hola" not in house.services.routing.table()
