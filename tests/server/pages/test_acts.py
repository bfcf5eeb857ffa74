"""What one does from the pages beside jobs: each once, and what it comes to."""

import io
from pathlib import Path

import pytest
from console import ORIGIN, Browser
from house import House

WASM = (Path(__file__).parents[3] / "samples" / "uppercase.wasm").read_bytes()


@pytest.fixture
def lambda_id(house: House) -> str:
    return house.new_lambda(name="upper", runtime="wasi", args=["--own"])


def press(browser: Browser, path: str, place: str, **fields: str) -> str:
    """Send a form of a page with these fields, go where it leads, and return what stands there."""
    mark = browser.get(path).form(place).fields[0]
    answer = browser.house.client.post(place, data={**dict([mark]), **fields}, headers={"Origin": ORIGIN})
    assert answer.status_code == 303, answer.get_data(as_text=True)[-1500:]
    return " ".join(browser.get(answer.headers["Location"]).text.split())


@pytest.mark.slow
def test_schedules_are_made_run_paused_resumed_and_removed(house: House, browser: Browser, lambda_id: str):
    made = (
        press(browser, "/console/schedules", "/console/schedules", name="night", cron="0 3 * * *") if False else ""
    )
    fields = {"name": "night", "lambda": "upper", "cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    made = press(browser, "/console/schedules", "/console/schedules", **fields)
    assert "the schedule night is there" in made
    id_ = house.call("GET", "/schedule/night")["id"]
    here, act = f"/console/schedules/{id_}", f"/console/schedules/{id_}/act"
    assert "submitted beside the ticks" in press(browser, here, act, action="run")
    assert "paused" in press(browser, here, act, action="pause")
    assert "it ticks again" in press(browser, here, act, action="resume")
    assert "is removed" in press(browser, here, act, action="remove")
    assert len(house.call("GET", "/job")["jobs"]) == 1
    mark = browser.get("/console/schedules").form("/console/schedules").fields[0]
    browser.post("/console/schedules", [mark, ("name", "x"), ("lambda", "upper"), ("every", "often")], status=400)
    browser.post("/console/schedules", [mark, ("name", "x"), ("lambda", "upper")], status=422)


def test_groups_are_sealed_and_paused(house: House, browser: Browser, lambda_id: str):
    house.submit(lambda_id, group="g")
    id_ = house.call("GET", "/group")["groups"][0]["id"]
    here = f"/console/groups/{id_}"
    assert "is sealed" in press(browser, here, f"{here}/seal")
    fields = dict(browser.get(here).form("/console/holds").fields)
    assert "is paused" in press(browser, here, "/console/holds", **fields)
    assert "It is paused" in " ".join(browser.get(here).text.split())
    fields = dict(browser.get(here).form("/console/holds").fields)
    assert "goes on" in press(browser, here, "/console/holds", **fields)


@pytest.mark.parametrize("back", ["https://evil.example", "//evil.example", "/\\evil", ""])
def test_a_form_leads_to_pages_of_the_console_alone(browser: Browser, lambda_id: str, back: str):
    fields = {"kind": "lambda", "target": "upper", "back": back}
    assert "upper" in press(browser, "/console/limits", "/console/holds", **fields)


def test_limits_and_tenants_are_set(house: House, browser: Browser, lambda_id: str):
    house.submit(lambda_id, tenant="acme")
    fields = {"key": "db", "concurrency": "3", "rate": "10", "period": "60"}
    assert "the limits of db are set" in press(browser, "/console/limits", "/console/limits", **fields)
    limits = {each["kind"]: each for each in house.call("GET", "/limit/db")["limits"]}
    assert (limits["concurrency"]["limit"], limits["rate"]["limit"], limits["rate"]["period_s"]) == (3, 10, 60)
    assert "what jobs say counts again" in press(
        browser, "/console/limits", "/console/limits", key="db", action="clear"
    )
    assert "acme has the weight 7" in press(
        browser, "/console/limits", "/console/tenants", tenant="acme", weight="7"
    )
    mark = browser.get("/console/limits").form("/console/limits").fields[0]
    browser.post("/console/limits", [mark, ("key", "db"), ("concurrency", "-1")], status=400)
    browser.post("/console/limits", [mark], status=400)


@pytest.mark.slow
def test_a_lambda_is_made_of_a_file_run_with_another_and_deleted(house: House, browser: Browser):
    mark = browser.get("/console/lambdas").form("/console/lambdas").fields[0][1]
    data = {"mark": mark, "name": "new", "runtime": "wasi", "file": (io.BytesIO(WASM), "new.wasm")}
    answer = house.client.post("/console/lambdas", data=data, headers={"Origin": ORIGIN})
    assert answer.status_code == 303, answer.get_data(as_text=True)[-1000:]
    here = answer.headers["Location"]
    data = {"mark": mark, "input_is": "file", "file": (io.BytesIO(b"in"), "in.txt"), "args": "a\r\nb"}
    answer = house.client.post(f"{here}/run", data=data, headers={"Origin": ORIGIN})
    assert answer.status_code == 303
    job = house.call("GET", f"/job/{answer.headers['Location'].rpartition('/')[2]}?view=full")
    assert (job["args"], job["input_name"], job["input_size"]) == (["a", "b"], "in.txt", 2)
    browser.post(f"{here}/delete", [("mark", mark)], status=409)
    house.call("DELETE", f"/job/{job['id']}")
    assert "is deleted" in press(browser, here, f"{here}/delete")
    browser.post("/console/lambdas", [("mark", mark)], status=400)


def test_a_lambda_runs_without_input(house: House, browser: Browser, lambda_id: str):
    press(browser, f"/console/lambdas/{lambda_id}", f"/console/lambdas/{lambda_id}/run", input_is="none")
    job = house.call("GET", f"/job/{house.call('GET', '/job')['jobs'][0]['id']}?view=full")
    assert (job["input"]["id"], job["args"]) == ("0", ["--own"])


def test_workers_are_drained_and_retired(house: House, browser: Browser):
    worker = house.new_worker(name="w")
    here = f"/console/workers/{worker}"
    assert "draining" in press(browser, here, f"{here}/act", action="drain")
    assert "retired" in press(browser, here, f"{here}/act", action="retire")


@pytest.mark.slow
def test_functions_are_deployed_scaled_divided_and_removed(house: House, browser: Browser, lambda_id: str):
    here, act = "/console/functions/hola", "/console/functions/hola/act"
    fields = {"function": "hola", "revision": "blue", "lambda": "upper", "replicas": "0"}
    assert "hola/blue is deployed" in press(browser, "/console/functions", "/console/functions", **fields)
    press(browser, here, "/console/functions", **fields | {"revision": "green"})
    assert "is to have 2 replicas" in press(browser, here, act, action="scale", revision="green", replicas="2")
    divided = press(browser, here, act, action="split", **{"weight:blue": "75", "weight:green": "25"})
    assert "divided anew" in divided
    assert house.call("GET", "/deployments/hola")["split"] == {"blue": 75, "green": 25}
    assert "go to green" in press(browser, here, act, action="default", revision="green")
    assert "is removed" in press(browser, here, act, action="remove", revision="blue")
    assert "is removed" in press(browser, here, act, action="remove-all")
    mark = browser.get("/console/functions").form("/console/functions").fields[0]
    browser.post("/console/functions", [mark, ("function", "x")], status=400)
    browser.post("/console/functions", [mark, *{**fields, "replicas": "many"}.items()], status=400)


def test_a_call_of_a_function_shows_its_answer_and_no_session_goes_along(
    house: House, browser: Browser, lambda_id: str, monkeypatch: pytest.MonkeyPatch
):
    from piecework.server.forwarding import calls
    from piecework.server.forwarding.messages import CallReply, FunctionCall

    seen: list[FunctionCall] = []

    def answer(_services: object, call: FunctionCall, _path: str, _revision: object) -> CallReply:
        seen.append(call)
        return CallReply(
            201, [("Content-Type", "text/html"), ("X-A", "\x1b[1m")], iter([b"<script>", b"x" * 70_000])
        )

    monkeypatch.setattr(calls, "call_as_job", answer)
    house.call("PUT", "/deployments/hola/blue", {"lambda": "upper", "replicas": 0})
    browser.sign_in("submit")
    page = browser.get("/console/functions/hola")
    fields = {"method": "POST", "path": "a/b?x=1", "body": "hello\r\nyou"}
    shown = browser.send(page, "/console/functions/hola/call#call", **fields)
    assert "Answer: 201" in shown.text
    assert "<script>xxx" in shown.text
    assert "Only the beginning is shown" in shown.text
    [call] = seen
    assert (call.method, call.path, call.query, call.body.read(100)) == ("POST", "hola/a/b", "x=1", b"hello\nyou")
    assert not call.find_header("authorization")
    assert not call.find_header("cookie")
    assert call.caller == "ana"
    for wrong in ({"method": "BURN"}, {"method": "GET", "path": "a b"}, {"method": "GET", "path": "ü"}):
        browser.send(page, "/console/functions/hola/call#call", 400, **wrong)


def test_namespaces_are_made_and_emptied(house: House, browser: Browser):
    assert "the namespace is there" in press(browser, "/console/namespaces", "/console/namespaces")
    id_ = house.call("GET", "/kv/namespaces")["namespaces"][0]["id"]
    here, act = f"/console/namespaces/{id_}", f"/console/namespaces/{id_}/act"
    for key in ("a", "b/c"):
        house.call("POST", f"/kv/{id_}/field/{key}", {"value": key})
    assert "the key is removed" in press(browser, here, act, action="delete", key="b/c")
    assert house.call("GET", f"/kv/{id_}/field")["keys"] == ["a"]
    assert "all keys are removed" in press(browser, here, act, action="flush")
    assert "is removed" in press(browser, here, act, action="remove")


def test_a_module_is_deleted(house: House, browser: Browser):
    house.client.post("/registry/upload/org/mod/1", data={"file": (io.BytesIO(WASM), "m.wasm")})
    assert "is deleted" in press(browser, "/console/modules", "/console/modules/org/mod/1/delete")


@pytest.mark.slow
def test_webhooks_are_made_paused_tested_and_deleted(house: House, browser: Browser):
    mark = browser.get("/console/webhooks").form("/console/webhooks").fields[0]
    made = browser.post("/console/webhooks", [mark, ("name", "hook"), ("url", "https://93.184.215.14/x")])
    assert "whsec_" in made.text
    id_ = house.call("GET", "/webhook/hook")["id"]
    here, act = f"/console/webhooks/{id_}", f"/console/webhooks/{id_}/act"
    assert "nothing is sent" in press(browser, here, act, action="pause")
    assert "it is told what waits" in press(browser, here, act, action="resume")
    assert "on its way" in press(browser, here, act, action="test")
    delivery = house.call("GET", "/webhook/hook/deliveries")["deliveries"][0]["id"]
    assert "it is sent now" in press(
        browser, f"/console/deliveries/{delivery}", f"/console/deliveries/{delivery}/retry"
    )
    assert "is deleted" in press(browser, here, act, action="delete")


@pytest.mark.parametrize(
    "place",
    ["schedules/1/act", "workers/12345678/act", "functions/f/act", "namespaces/12345678/act", "webhooks/h/act"],
)
def test_what_is_no_act_is_refused(browser: Browser, lambda_id: str, place: str):
    mark = browser.get("/console/limits").form("/console/holds").fields[0]
    page = browser.post(f"/console/{place}", [mark, ("action", "burn")], status=400)
    assert "be done to a" in page.text or "can be drained or retired" in page.text
