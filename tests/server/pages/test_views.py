"""Every page: empty, with something to show, with what strangers wrote, and for whom."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import pytest
from console import ORIGIN, Browser
from house import House, failed, finished
from kept_houses import Keep, Kept
from recorded import some_call

from piecework.http.exchange import Request, Response
from piecework.receipts.journals import End, Head, JournalEntry, write_frame
from piecework.server.pages.table import PAGES
from piecework.server.services.tokens.token_acts import create_token

HOSTILE = "<script>x</script>\x1b[1m\u202e\"'&"
LISTS = sorted(each.path for each in PAGES if each.method == "GET" and "<" not in each.path)
WASM = (Path(__file__).parents[3] / "samples" / "uppercase.wasm").read_bytes()


@pytest.fixture(scope="module")
def kept(keep: Keep) -> Kept:
    return keep(fill)


@pytest.fixture
def filled(kept: Kept) -> dict[str, str]:
    """One of each thing, by the part of a path that names it."""
    return kept.ids


def fill(house: House) -> dict[str, str]:
    lambda_id = house.new_lambda(
        name="upper", runtime="wasi", args=[HOSTILE[:20]], env={"A": HOSTILE[:-3]}, tags=["t"],
        codex=upload(house, WASM), limits={"timeout_s": 5, "memory_bytes": 100000000, "fuel": 5},
        grants={"http": ["*"]},
    )  # fmt: skip
    worker = house.new_worker("wasi", name="w <b>", hostname=HOSTILE[:18], tags=["gpu"])
    group = str(house.call("POST", "/group", {"name": "night"})["group"]["id"])
    noted = house.new_lambda(name="noted", runtime="wasi", codex=upload(house, WASM), record=True)
    job = house.submit(
        noted, group="night", tenant="acme", concurrency_key="k<b>", concurrency_limit=2, rate_key="r",
        rate_limit=5, max_attempts=1, args=[HOSTILE],
    )  # fmt: skip
    house.submit(lambda_id, after=[group])
    asked = (Head(), JournalEntry(HOSTILE[:20], HOSTILE.encode(), b"", "denied"), End(1))
    journal = {"base64": base64.b64encode(b"".join(map(write_frame, asked))).decode()}
    house.finish(worker, failed(house.lease(worker), "trap", HOSTILE) | {"journal": journal})
    held = house.submit(lambda_id)
    house.lease(worker)
    schedule = house.call("POST", "/schedule", {"name": "often", "every_s": 60, "job": {"lambda": "upper"}})["id"]
    house.call("POST", "/schedule/often/run", {})
    house.call("PUT", "/hold/lambda/upper", {"note": HOSTILE})
    namespace = house.call("POST", "/kv", {})["id"]
    house.call("POST", f"/kv/{namespace}/field/a<b>%2Fc", {"value": HOSTILE})
    hook = house.call("POST", "/webhook", {"name": "hook", "url": "https://93.184.215.14/x"})["id"]
    delivery = house.call("POST", "/webhook/hook/test", {})["delivery"]["id"]
    house.call("PUT", "/limit/k", {"concurrency": 1})
    house.call(
        "POST", "/memory/functions/registration", {"function": "far", "url": "http://127.0.0.1:9"}, status=None
    )
    push = {"file": (io.BytesIO(WASM), "m.wasm"), "info": HOSTILE[:-3]}
    house.client.post("/registry/upload/org/mod/1", data=push)
    host = house.new_worker("wasi")
    house.call("POST", f"/worker/{host}/functions", {"slots": 1})
    deployment = {"lambda": "upper", "replicas": 1, "tags": [], "record": {"share": 0.5}}
    house.call("PUT", "/deployments/hola/blue", deployment)
    orders = house.call("POST", f"/worker/{host}/functions", {"slots": 1})["replicas"]
    request = Request("PUT", f"/{HOSTILE}", (("X-Who", HOSTILE),), HOSTILE.encode())
    recorded = some_call(WASM, request, Response(200, (("X-Who", HOSTILE),), HOSTILE.encode()))
    calls = [{"replica": orders[0]["id"], "call": base64.b64encode(recorded).decode()}]
    assert house.call("POST", f"/worker/{host}/calls", {"calls": calls})["kept"] == 1
    call = house.call("GET", "/deployments/hola/blue/calls")["calls"][0]["id"]
    create_or = {"job": job, "group": "night", "schedule": str(schedule), "lambda_": lambda_id, "worker": worker}
    return create_or | {
        "function": "hola", "revision": "blue", "namespace": str(namespace), "webhook": str(hook),
        "delivery": str(delivery), "held": held, "blob": house.call("GET", f"/lambda/{lambda_id}")["codex"],
        "call": call, "org": "org", "module": "mod", "tag": "1",
    }  # fmt: skip


def upload(house: House, content: bytes) -> str:
    return str(house.client.post("/data", data=content, content_type="application/octet-stream").get_json()["id"])


@pytest.mark.parametrize("path", LISTS)
def test_every_list_says_that_there_is_nothing(browser: Browser, path: str):
    assert browser.get(f"/console{path}").text


@pytest.mark.parametrize("each", [each for each in PAGES if each.method == "GET"], ids=lambda each: each.path)
def test_every_page_shows_what_strangers_wrote_and_nothing_of_it_acts(
    house: House, browser: Browser, filled: dict[str, str], each: Any
):
    path = "/console" + re.sub(r"<(\w+)>", lambda found: filled[found[1]], each.path)
    if path.endswith(("/download", "/log", "/image", "/receipt")) and "functions" not in path:
        assert house.fetch(path).headers["X-Content-Type-Options"] == "nosniff"
        return
    page = browser.get(path)
    assert not set("\x1b\u202e") & set(page.text)


@pytest.mark.slow
def test_pages_tell_what_there_is(browser: Browser, filled: dict[str, str]):
    for path, texts in {
        "": ["All is well; ", "upper", "paused: lambda", "1 failed in an hour"],
        "?period=day": ["In the last day"],
        "/groups": ["night", "open"],
        "/groups/night": ["1", "failed"],
        "/schedules": ["often", "every 60 s"],
        "/schedules/often": ["by hand", "submitted"],
        "/limits": ["k<b>", "acme", "upper"],
        "/limits?key=k": ["operator"],
        "/lambdas": ["upper", "wasi"],
        "/lambdas/upper": ["may touch", "HTTP *", "Run one now", "It is paused"],
        "/lambdas/upper?inspect=1": ["What its code is", "_start", "fd_write"],
        "/workers": ["w <b>", "busy"],
        f"/workers/{filled['worker']}": [filled["held"], "gpu"],
        "/functions": ["hola", "blue"],
        "/functions/hola": ["Call it now"],
        "/modules": ["org/mod/1"],
        "/namespaces": [filled["namespace"]],
        f"/namespaces/{filled['namespace']}": ["a<b>/c"],
        f"/namespaces/{filled['namespace']}?key=a%3Cb%3E%2Fc": ["<script>x</script>\\x1b[1m\\u202e"],
        "/webhooks": ["hook"],
        f"/webhooks/{filled['webhook']}": ["https://93.184.215.14/x", "test"],
        f"/deliveries/{filled['delivery']}": ["What is sent"],
        "/storage": ["the database", "How long things stay"],
        "/storage?count=1": ["due for removal", "1 failed"],
        "/tokens": ["no token"],
        "/audit": ["create lambda", "pause lambda"],
        "/audit?act=deploy": ["hola/blue"],
    }.items():
        shown = " ".join(browser.get(f"/console{path}").text.split())
        for text in texts:
            assert text in shown, (path, text)


def test_code_that_is_none_is_told(house: House, browser: Browser):
    for codex, says in (("0", "kind"), (upload(house, b"#!/usr/bin/env js\n"), "kind")):
        lambda_id = house.new_lambda(codex=codex)
        assert says in browser.get(f"/console/lambdas/{lambda_id}?inspect=1").text


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("?period=year", "'year'"),
        ("/webhooks/hook?state=lost", "'lost'"),
        ("/groups?cursor=x", "not 'x'"),
        ("/workers/x", "no id of a worker"),
    ],
)
def test_what_cannot_be_read_is_refused(browser: Browser, filled: dict[str, str], path: str, named: str):
    assert named in browser.get(f"/console{path}", status=400).text


@pytest.mark.parametrize(
    "path",
    ["/groups/none", "/schedules/none", "/lambdas/none", "/functions/none", "/webhooks/none", "/workers/12345678"],
)
def test_what_is_not_there_is_told(browser: Browser, path: str):
    assert path.rpartition("/")[2] in browser.get(f"/console{path}", status=404).text


def test_all_is_well_when_nothing_is_amiss(house: House, browser: Browser):
    worker, lambda_id = house.new_worker("wasi"), house.new_lambda(runtime="wasi")
    house.submit(lambda_id)
    house.finish(worker, finished(house.lease(worker)))
    assert "All is well" in browser.get("/console").text


def test_a_worker_that_is_gone_and_a_job_that_waits_long_are_told(house: House, browser: Browser):
    house.new_worker("wasi", name="gone-one")
    lambda_id = house.new_lambda(runtime="wasi")
    house.submit(lambda_id)
    house.clock.forward(400)
    house.new_worker("wasi", name="busy-one")
    text = " ".join(browser.get("/console").text.split())
    assert "worker gone-one was not heard of for 7 min" in text
    assert "7 min the oldest enqueued waits" in text


def test_the_list_of_tokens_is_for_those_who_operate(house: House, browser: Browser):
    browser.sign_in("submit")
    browser.get("/console/tokens", status=403)
    browser.sign_in("operate", "ops")
    page = browser.get("/console/tokens")
    assert "ana" in page.text
    assert "yours" in page.text
    assert "Last used" in page.text
    assert "Expires" in page.text
    database, now = house.services.database, house.clock()
    create_token(database, "brief", "view", now, expires_at=now + 7_200_000)
    house.services.access.store_uses()
    assert "in 2 h" in browser.get("/console/tokens").text


def test_a_submitter_sees_no_button_that_only_operators_may_press(
    house: House, browser: Browser, filled: dict[str, str]
):
    browser.sign_in("submit")
    for path in (f"/workers/{filled['worker']}", "/functions/hola", "/functions", "/limits"):
        actions = {form.action for form in browser.get(f"/console{path}").forms if form.method == "post"}
        assert actions <= {"/console/sign-out", "/console/holds", "/console/functions/hola/call#call"}, path
    browser.get("/console/webhooks", status=403)


OPERATE = {
    "/workers/<worker>/act": {"action": "drain"},
    "/limits": {"key": "k", "concurrency": "3"},
    "/tenants": {"tenant": "acme", "weight": "2"},
    "/functions": {"function": "f", "revision": "r", "lambda": "upper"},
    "/functions/<function>/act": {"action": "default", "revision": "blue"},
    "/webhooks": {"name": "n", "url": "https://93.184.215.14"},
    "/webhooks/<webhook>/act": {"action": "pause"},
    "/deliveries/<delivery>/retry": {},
}


@pytest.mark.parametrize("path", OPERATE)
def test_what_only_operators_may_do_is_refused_to_submitters(
    house: House, browser: Browser, filled: dict[str, str], path: str
):
    target = "/console" + re.sub(r"<(\w+)>", lambda found: filled[found[1]], path)
    browser.sign_in("submit")
    mark = browser.get("/console/jobs").form("/console/sign-out").fields[0]
    page = browser.post(target, [mark, *OPERATE[path].items()], status=403)
    assert "this request needs operate" in page.text
    browser.sign_in("operate", "ops")
    mark = browser.get("/console/jobs").form("/console/sign-out").fields[0]
    answer = house.client.post(target, data=dict([mark, *OPERATE[path].items()]), headers={"Origin": ORIGIN})
    assert answer.status_code in {200, 303}


@pytest.mark.slow
def test_every_form_of_every_page_is_answered_by_a_page(browser: Browser, filled: dict[str, str]):
    rules = [re.sub(r"<\w+>", "[^/]+", each.path) for each in PAGES if each.method == "POST"] + ["/sign-in"]
    for each in PAGES:
        if each.method == "GET" and not each.path.endswith(("/download", "/image", "<job>/log", "/receipt")):
            path = "/console" + re.sub(r"<(\w+)>", lambda found: filled[found[1]], each.path)
            for form in browser.get(path).forms:
                if form.method == "post":
                    place = form.action.removeprefix("/console").partition("#")[0]
                    assert any(re.fullmatch(rule, place) for rule in rules), form
                    assert form.fields[0][0] == "mark", form
