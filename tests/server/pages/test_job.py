"""The page of one job: what it shows of strangers' bytes, and what one can do from it."""

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from console import ORIGIN, Browser
from house import House, failed, finished

from piecework.server.pages import previews
from piecework.server.pages.queue import job as pages

Make = Callable[..., str]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b]0;title\x07\x1b[31mred\x1b[0m\u202egpj.exe\0"


@pytest.fixture
def worker(house: House) -> str:
    return house.new_worker("wasi", name="w")


@pytest.fixture
def make(house: House, worker: str) -> Make:
    """Make a job that ended with an output; ``ends``: with other fields of an outcome."""
    lambda_id = house.new_lambda(name="upper", runtime="wasi")

    def make(output: bytes = b"", ends: dict[str, Any] | None = None, **fields: Any) -> str:
        job = house.submit(lambda_id, **fields)
        lease = house.lease(worker)
        data = house.client.post("/data", data=output, content_type="application/octet-stream").get_json()["id"]
        house.finish(worker, {**finished(lease), "output": {"id": data}} if ends is None else {**lease, **ends})
        return job

    return make


def test_a_job_tells_what_it_was_run_with_and_how_it_fared(house: House, browser: Browser, make: Make):
    job = make(
        b"HI", args=["--fast", "a b"], env={"LANG": "C", "API_TOKEN": "hunter2"}, tags=["+x", "y"][1:], key="k"
    )
    page = browser.get(f"/console/jobs/{job}")
    for text in ("upper", "--fast a b", "LANG=C", "API_TOKEN=***", "HI", "finished", "1 of 3"):
        assert text in page.text, text
    assert "hunter2" not in page.text
    assert "/console/jobs?tag=y" in page.links


def test_what_an_attempt_used_is_told_as_far_as_known(browser: Browser, make: Make):
    whole = {"wall_s": 2.0, "cpu_s": 0.5, "memory_bytes": 64_000_000, "fuel": 12_345}
    job = make(ends={"state": "Finished", "usage": whole})
    assert "used 2.0 s, 500 ms CPU, 64.0 MB memory, 12,345 fuel" in browser.get(f"/console/jobs/{job}").text
    job = make(ends={"state": "Finished", "usage": {"memory_bytes": 64_000_000}})
    assert "used 64.0 MB memory" in browser.get(f"/console/jobs/{job}").text


def test_a_running_job_tells_when_it_may_end_and_that_it_is_late(
    house: House, browser: Browser, make: Make, worker: str
):
    lambda_id = ""
    for _ in range(3):
        job = make(ends={"state": "Finished", "usage": {"wall_s": 20.0}})
        lambda_id = house.call("GET", f"/job/{job}")["lambda"]["id"]
    house.submit(lambda_id)
    job = house.lease(worker)["job"]
    house.clock.forward(8)
    assert "20 s, about 12 s left" in browser.get(f"/console/jobs/{job}").text
    house.clock.forward(92)
    page = browser.get(f"/console/jobs/{job}").text
    assert "20 s, straggler: over its usual time by 80 s" in page
    assert "It is a straggler: it runs far longer than jobs of its lambda usually do." in page


def test_to_look_at_a_job_is_not_to_read_its_result(house: House, browser: Browser, make: Make):
    job = make(b"x", retain_s=0)
    browser.get(f"/console/jobs/{job}")
    house.clock.forward(3600)
    house.services.retention.step()
    assert f"Job {job}" in browser.get(f"/console/jobs/{job}").text


@pytest.mark.parametrize(
    ("content", "form", "shown"),
    [
        (b"plain\ttext\n", "text", "plain"),
        (b'{"a": [1, null, true], "b": {"c": "<b>"}}', "json", '"<b>"'),
        (b"[" * 100 + b"]" * 100, "json", "[ [ ["),
        (b"[" * 50_000 + b"]" * 50_000, "text", "[[["),
        (b"name,size\na,1\nb,2\n", "table", "size"),
        (b"a;b\n1;2\n", "table", "2"),
        (b"not, a table\nat all\n", "text", "not, a table"),
        (b"\0\1\2abc", "hex", "00 01 02 61 62 63"),
        ("Zoë ᚠ 你好".encode(), "text", "Zoë ᚠ 你好"),
        (PNG, "image", "Save"),
        (b"GIF89a<script>alert(1)</script>", "image", "Save"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "text", "onload"),
        (b"<!doctype html><script>alert(1)</script>", "text", "<script>"),
        (b"\xff\xfe" * 30, "hex", "ff fe"),
        (HOSTILE.encode(), "hex", "3c 73"),
        (HOSTILE[:-1].encode(), "text", "\\x1b]0;title\\x07"),
    ],
)
def test_an_output_is_shown_by_what_it_is(browser: Browser, make: Make, content: bytes, form: str, shown: str):
    page = browser.get(f"/console/jobs/{make(content)}")
    output = " ".join(page.text.partition("Output")[2].split())
    assert output.startswith(form), output[:200]
    assert shown in output
    assert not set("\x1b\u202e\x07\0") & set(page.text)


@pytest.mark.slow
def test_a_large_output_is_shown_in_part_and_never_read_whole(
    house: House, browser: Browser, make: Make, monkeypatch: pytest.MonkeyPatch
):
    job = make(b"x" * 50_000_000)
    monkeypatch.setattr(house.services.data, "read", None)
    answer = house.client.get(f"/console/jobs/{job}")
    assert "only the beginning is shown" in answer.get_data(as_text=True)
    assert len(answer.data) < 300_000
    assert "50.0 MB" in browser.get(f"/console/jobs/{job}?output_as=hex").text


def test_what_a_page_shows_can_be_saved_and_is_never_opened(house: House, make: Make):
    job = make(b"<script>alert(1)</script>")
    blob = house.call("GET", f"/job/{job}")["output"]["id"]
    answer = house.fetch(f"/console/blobs/{blob}/download")
    assert answer.data == b"<script>alert(1)</script>"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert house.fetch(f"/console/blobs/{blob}/image").status_code == 400


def test_names_of_files_in_every_script_can_be_saved(house: House):
    name = '数据\u202egpj.exe".html'
    data = {"file": (io.BytesIO(b"x"), name)}
    blob = house.client.post("/data", data=data).get_json()["id"]
    header = house.fetch(f"/console/blobs/{blob}/download").headers["Content-Disposition"]
    assert header.isascii()
    assert re.fullmatch(r"attachment; filename=\"[\w.-]+\"; filename\*=UTF-8''[\w%.~-]+", header)


def test_an_image_is_one_by_its_first_bytes(house: House, make: Make):
    job = make(PNG)
    blob = house.call("GET", f"/job/{job}")["output"]["id"]
    answer = house.fetch(f"/console/blobs/{blob}/image")
    assert (answer.data, answer.headers["Content-Type"]) == (PNG, "image/png")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(
    ("content", "type_"), [(b"RIFF\0\0\0\0WEBP", "image/webp"), (b"RIFF\0\0\0\0WAVE", None), (b"<svg", None)]
)
def test_images_are_known_by_their_first_bytes(content: bytes, type_: str | None):
    assert previews.find_image(content) == type_


def test_logs_are_plain_bounded_and_can_be_saved(
    house: House, browser: Browser, worker: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "LOG_BYTES", 200)
    job = house.submit(house.new_lambda(runtime="wasi"), max_attempts=2, backoff={"kind": "none"})
    logs = [
        b"first\n",
        b"old\n" * 100 + b"\x1b[31mred\x1b[0m </pre><script>x</script> \x1b]8;;http://e\x07link\xff\r\n",
    ]
    for text in logs:
        house.finish(worker, {**failed(house.lease(worker)), "log": base64.b64encode(text).decode()})
    page = browser.get(f"/console/jobs/{job}")
    assert "red </pre><script>x</script> link\ufffd" in page.text
    assert "The end of it" in page.text
    assert "first" in browser.get(f"/console/jobs/{job}?attempt=1").text
    saved = house.fetch(f"/console/jobs/{job}/log?attempt=2")
    assert saved.data == logs[1]
    assert saved.headers["Content-Disposition"].startswith("attachment")
    assert "failed, tried again" in page.text
    browser.get(f"/console/jobs/{job}/log?attempt=x", status=400)


def test_a_job_that_waits_says_why_and_is_cancelled_paused_and_resumed(house: House, browser: Browser):
    job = house.submit(house.new_lambda(runtime="wasi"))
    page = browser.get(f"/console/jobs/{job}")
    assert "It waits: no worker" in page.text
    act = f"/console/jobs/{job}/act"
    assert "paused" in browser.follow(page, act).text
    assert house.state(job) == "Paused"
    page = browser.follow(browser.get(f"/console/jobs/{job}"), act)
    assert house.state(job) == "Enqueued"
    mark = page.form(act).fields[0]
    browser.post(act, [mark, ("action", "cancel")], status=303)
    assert house.state(job) == "Cancelled"
    browser.follow(browser.get(f"/console/jobs/{job}"), act)
    assert house.state(job) == "Enqueued"
    browser.post(act, [mark, ("action", "burn")], status=400)
    browser.post(act, [mark, ("action", "retry")], status=409)


def test_a_failed_job_runs_again_edited(house: House, browser: Browser, make: Make):
    job = make(
        ends={"state": "Fail_Execution", "error": {"kind": "trap", "message": "no"}},
        input={"text": "in\nput"}, max_attempts=1, args=["a"], env={"X": "1", "API_KEY": "hidden"},
    )  # fmt: skip
    house.new_lambda(name="fixed", runtime="wasi")
    page = browser.get(f"/console/jobs/{job}")
    again = f"/console/jobs/{job}/again"
    assert ("input", "in\nput") in page.form(again).fields
    fields = {
        "lambda": "fixed",
        "input_is": "text",
        "input": "new\r\ninput",
        "args": "a\r\nb c\r\n",
        "env": "X=2\nAPI_KEY=***",
    }
    made = browser.follow(page, again, **fields, timeout="7", ok_codes="10, 20")
    assert f"made of job {job}" in made.text
    [found] = house.call("GET", "/job?lambda=fixed")["jobs"]
    full = house.call("GET", f"/job/{found['id']}?view=full")
    assert (full["args"], full["env"], full["limits"]["timeout_s"], full["ok_codes"]) == (
        ["a", "b c"],
        {"X": "2", "API_KEY": "***"},
        7,
        [10, 20],
    )
    assert house.services.jobs.get(int(found["id"])).options.env["API_KEY"] == "hidden"
    assert house.fetch(f"/data/{found['input']['id']}/blob").data == b"new\ninput"
    assert str(full["retry_of"]) == job


def test_a_finished_job_is_submitted_once_more(house: House, browser: Browser, make: Make):
    job = make(b"out", input={"text": "same"}, args=["a"], env={"X": "1"}, priority=3, tags=["t"], ok_codes=[9])
    made = browser.follow(browser.get(f"/console/jobs/{job}"), f"/console/jobs/{job}/again")
    newest = house.call("GET", "/job")["jobs"][0]
    assert newest["id"] != job
    assert f"/console/jobs/{newest['id']}" in str(made.links) or newest["id"] in made.text
    full = house.call("GET", f"/job/{newest['id']}?view=full")
    assert (full["args"], full["env"], full["priority"], full["tags"]) == (["a"], {"X": "1"}, 3, ["t"])
    assert full["ok_codes"] == [9]
    assert full["input"]["id"] == house.call("GET", f"/job/{job}")["input"]["id"]


def test_files_stand_beside_and_go_along_when_it_is_submitted_once_more(
    house: House, browser: Browser, worker: str
):
    lambda_id = house.new_lambda(name="folder", runtime="wasi")
    job = house.submit(lambda_id, files={"src/a<b>.c": {"text": "int"}}, outputs=["*.o"])
    lease = house.lease(worker, tags=["inputs", "files"])
    house.finish(worker, {**finished(lease), "made": [{"name": "a.o", "content": {"text": "object"}}]})
    page = browser.get(f"/console/jobs/{job}")
    assert "src/a<b>.c" in page.text
    assert "a.o" in page.text
    browser.follow(page, f"/console/jobs/{job}/again")
    full = house.call("GET", f"/job/{house.call('GET', '/job')['jobs'][0]['id']}?view=full")
    assert ([each["name"] for each in full["files"]], full["outputs"]) == (["src/a<b>.c"], ["*.o"])


def test_a_file_becomes_the_input(house: House, browser: Browser, make: Make):
    job = make(b"out")
    mark = browser.get(f"/console/jobs/{job}").form(f"/console/jobs/{job}/again").fields[0]
    fields = {"mark": mark[1], "input_is": "file", "file": (io.BytesIO(b"\0file"), "a.bin")}
    answer = house.client.post(f"/console/jobs/{job}/again", data=fields, headers={"Origin": ORIGIN})
    assert answer.status_code == 303
    newest = house.call("GET", "/job")["jobs"][0]
    assert house.fetch(f"/data/{newest['input']['id']}/blob").data == b"\0file"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"timeout": "soon"}, 400),
        ({"env": "no equals"}, 400),
        ({"ok_codes": "1 two"}, 400),
        ({"ok_codes": "4294967296"}, 400),
        ({"lambda": "nobody"}, 404),
        ({"memory": "-1"}, 422),
        ({"timeout": "nan"}, 422),
    ],
)
def test_an_edit_that_cannot_be_makes_nothing(
    house: House, browser: Browser, make: Make, changes: dict[str, str], status: int
):
    job = make(b"out")
    browser.send(browser.get(f"/console/jobs/{job}"), f"/console/jobs/{job}/again", status, **changes)
    assert len(house.call("GET", "/job")["jobs"]) == 1


def test_arguments_that_no_field_can_show_stay_as_they_are(house: House, browser: Browser, make: Make):
    job = make(b"out", args=["a\nb", "\u202e"], env={"X": "\x1b"})
    page = browser.get(f"/console/jobs/{job}")
    assert "its own cannot be shown here" in page.text
    browser.follow(page, f"/console/jobs/{job}/again")
    full = house.call("GET", f"/job/{house.call('GET', '/job')['jobs'][0]['id']}?view=full")
    assert (full["args"], full["env"]) == (["a\nb", "\u202e"], {"X": "\x1b"})


def test_jobs_before_and_after_stand_beside(house: House, browser: Browser):
    first, second = house.new_lambda(name="first"), house.new_lambda(name="second")
    parent = house.submit(first, group="g")
    child = house.submit(second, after=[parent])
    assert f"/console/jobs/{child}" in browser.get(f"/console/jobs/{parent}").links
    assert f"/console/jobs/{parent}" in browser.get(f"/console/jobs/{child}").links
    group = house.call("GET", "/group")["groups"][0]["id"]
    waits = house.submit(second, after=[group])
    assert f"/console/groups/{group}" in browser.get(f"/console/jobs/{waits}").links


def test_a_job_that_is_not_there_and_an_id_that_is_none(browser: Browser):
    assert "123456789" in browser.get("/console/jobs/123456789", status=404).text
    assert "abc" in browser.get("/console/jobs/abc", status=400).text
    assert "is not exist" in browser.get("/console/blobs/12345678/download", status=404).text


def test_lines_do_the_same(house: House, make: Make, browser: Browser):
    job = make(b"x", args=["it's", "--x"], env={"A_SECRET": "s", "N": "1"}, tags=["+gpu"][:0], priority=2)
    text = browser.get(f"/console/jobs/{job}").text
    assert "piecework job submit upper@" in text
    assert "'--arg=it'\"'\"'s' --arg=--x" in text
    assert "'--env=A_SECRET=<A_SECRET>'" in text
    assert "Client('http://localhost').submit_and_wait('upper@" in text
