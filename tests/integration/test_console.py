"""The console in a real browser: what people do with it, and what hostile guests cannot.

A server with 100,000 jobs, an agent, tokens. Every page that is opened here must stay without errors, and without
anything that its policy refused.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chromium import AXE, MISSING, NO_AXE, find_chromium, open_browser
from console_views import VIEWS, fill
from patience import LONG_S, until

from piecework import Client
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.messages import DeploymentPut
from piecework.server.services.tokens.token_acts import create_token

pytestmark = [pytest.mark.integration, pytest.mark.skipif(find_chromium() is None, reason=MISSING)]

SAMPLES = Path(__file__).parent.parent.parent / "samples"
JOBS = 100_000
HOSTILE = (
    "<script>window.harmed=1</script><img src=x onerror=window.harmed=1>\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m"
    "</pre></textarea>\u202egpj.exe {{7*7}} 数据 ᚠ\n"
)


@dataclass
class World:
    """A server with jobs, an agent with one slot, and what stands in paths."""

    server: LocalServer
    client: Client
    secret: str
    names: dict[str, str]


@dataclass
class Window:
    """A window of the browser, and what went wrong in it."""

    page: Any
    base: str
    faults: list[str] = field(default_factory=list)

    def go(self, path: str) -> Any:
        """Open a page of the console."""
        self.page.goto(f"{self.base}/console{path}")
        return self.page

    def sees(self, text: str) -> None:
        """Wait until a text stands in the page, without loading it again."""
        self.page.get_by_text(text, exact=False).first.wait_for(timeout=LONG_S * 1000)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("console")
    filled = fill(folder / "data", JOBS, round(time.time() * 1000))
    tokens = {
        name: create_token(filled.house.services.database, name, scope, 1)
        for name, scope in (("ops", "operate"), ("node", "worker"))
    }
    filled.house.close()
    with sqlite3.connect(filled.house.data / "piecework.db") as database:
        look = "UPDATE jobs SET options = replace(options, '--size', '--hidden') WHERE id = ?"
        database.execute(look, (filled.names["job"],))
    with LocalServer(folder) as server, Client(server.url, token=tokens["ops"]) as client:
        options = ("--slots", "1", "--functions", "4", "--token", tokens["node"])
        with LocalAgent(server.url, folder, "node-1", *options):
            for name in ("exit_with_code", "count_slowly", "echo"):
                client.create_lambda(SAMPLES / f"{name}.wasm", name=name)
            client.push_module("org/hola/1", SAMPLES / "capsule_hello.wasm")
            client.deploy("shown", "one", DeploymentPut(module="org/hola/1", replicas=1))
            failed = client.submit("exit_with_code", b'{"a": [1, "b"]}', args=["3"], max_attempts=1)
            filled.names["failed"] = str(failed)
            until(lambda: client.job(failed).state.is_final)
            yield World(server, client, tokens["ops"], filled.names)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


def open_window(browser: Any, world: World, **options: Any) -> tuple[Any, Window]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
    window = Window(context.new_page(), world.server.url)
    window.page.on("console", lambda said: window.faults.append(said.text) if said.type == "error" else None)
    window.page.on("pageerror", lambda error: window.faults.append(str(error)))
    window.page.on("dialog", lambda dialog: (window.faults.append(dialog.message), dialog.dismiss()))
    return context, window


@pytest.fixture
def window(browser: Any, world: World) -> Iterator[Window]:
    """A window in which somebody has signed in."""
    context, window = open_window(browser, world)
    page = window.go("/jobs")
    page.get_by_label("Token").fill(world.secret)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Jobs").wait_for()
    yield window
    assert not window.faults
    context.close()


def test_a_failed_job_is_found_among_many_read_and_run_again_edited_and_seen_to_finish(
    world: World, window: Window
):
    job = world.client.submit("exit_with_code", b"the needle", args=["3", "--needle"], max_attempts=1)
    until(lambda: world.client.job(job).state.is_final)
    page = window.page
    page.keyboard.press("/")
    page.keyboard.type("state:failed --needle")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=str(job)).wait_for()
    page.locator("body").click(position={"x": 5, "y": 700})
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=f"Job {job}").wait_for()
    assert "ending with the exit code that was asked for" in page.get_by_role("log").inner_text()

    world.client.submit("count_slowly", args=["3", "100"])  # the one slot is taken: the new job waits for it
    page.get_by_text("A new job from this one").click()
    page.get_by_label("Arguments, one a line").fill("0")
    page.get_by_label("Text of the input").fill("another input")
    page.get_by_role("button", name="Submit").click()
    window.sees(f"made of job {job}")
    assert "finished" not in page.locator("h1").inner_text()
    page.locator("h1 .state.finished").wait_for(timeout=LONG_S * 1000)  # it was not loaded again
    window.sees("another input")
    made = page.url.rpartition("/")[2]
    assert str(world.client.job(made).retry_of) == str(job)


def test_the_lines_of_a_job_do_the_same(world: World, window: Window):
    job = world.client.submit("echo", b"it's\n", args=["a b", "it's", "$HOME"], env={"A": "1"}, tags=["cpu"])
    until(lambda: world.client.job(job).state.is_final)
    page = window.go(f"/jobs/{job}")
    command, curl, python = (page.locator(f"#line-{number}").inner_text() for number in (1, 2, 3))
    tools = str(Path(sys.executable).parent)
    environ = os.environ | {
        "PIECEWORK_URL": world.server.url, "PIECEWORK_TOKEN": world.secret, "PATH": f"{tools}:{os.environ['PATH']}"
    }  # fmt: skip
    said = subprocess.run(
        ["bash", "-c", command], env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert said.stdout == b"it's\n"
    said = subprocess.run(["bash", "-c", curl], env=environ, capture_output=True, check=True)
    assert json.loads(said.stdout)["job"]["output"]["text"] == "it's\n"
    code = f"{python}\nprint(job.output)"
    said = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True)
    assert b"it's" in said.stdout
    newest = list(world.client.jobs(lambda_="echo", limit=3))
    assert {tuple(world.client.job(each.id).args) for each in newest} == {("a b", "it's", "$HOME")}


def test_five_hundred_jobs_are_cancelled_by_what_they_have_in_common(world: World, window: Window):
    ids = world.client.submit_many("echo", [b"x"] * 500, tags=["batch-500"], delay_s=86_400)
    page = window.go("/jobs?tag=batch-500")
    page.get_by_label("all that match").check()
    page.get_by_role("button", name="Cancel…").click()
    window.sees("500 jobs would be cancelled")
    page.get_by_role("button", name="Cancel them").click()
    window.sees("500 jobs are cancelled")
    assert {world.client.job(each).state for each in (ids[0], ids[-1])} == {"Cancelled"}
    assert world.client.count_jobs(tag="batch-500", state="cancelled") == 500
    world.client.bulk_ids("delete", [ids[0]])
    page.get_by_role("button", name="Take it back…").click()
    window.sees("Of 500 jobs that were cancelled")
    window.sees("1 not: there is no such job")
    page.get_by_role("button", name="Take it back").click()
    window.sees("499 jobs are run again")
    assert world.client.count_jobs(tag="batch-500", state="cancelled") == 0


def test_a_function_is_deployed_divided_and_called(world: World, window: Window):
    page = window.go("/functions")
    for revision in ("blue", "green"):
        if revision == "blue":
            page.get_by_text("Deploy a revision").click()
            page.get_by_label("function").fill("hola")
        else:
            page.get_by_text("Deploy another revision").click()
        page.get_by_label("revision").fill(revision)
        page.get_by_label("of the module").fill("org/hola/1")
        page.get_by_role("button", name="Deploy").click()
        window.sees(f"hola/{revision} is deployed")
    for revision, weight in (("blue", 75), ("green", 25)):
        slider = page.get_by_role("slider", name=revision)
        slider.fill(str(weight))
        assert str(weight) in page.locator("output").all_inner_texts()
    page.get_by_role("button", name="Divide").click()
    window.sees("the calls are divided anew")
    assert world.client.function("hola").split == {"blue": 75, "green": 25}
    page.get_by_role("textbox", name="Body").fill("Bob")
    page.get_by_label("Method").select_option("POST")
    page.get_by_role("button", name="Call").click()
    window.sees("Answer: 200")


@pytest.mark.parametrize("size", [0, 50_000_000])
def test_what_a_hostile_guest_wrote_does_nothing(world: World, window: Window, size: int):
    job = world.client.submit(
        "echo", HOSTILE.encode() + b"x" * size, args=[HOSTILE.replace("\n", "")[:200]], env={"A": "<b>"}
    )
    until(lambda: world.client.job(job).state.is_final)
    for path in (
        f"/jobs/{job}",
        f"/jobs/{job}?output_as=text",
        f"/jobs/{job}?output_as=hex",
        "/jobs?text=<script>",
    ):
        page = window.go(path)
        assert page.evaluate("window.harmed") is None
        assert not set("\x1b\u202e\x07") & set(page.locator("main").inner_text())
        assert page.title().endswith("Piecework")
    assert "<script>window.harmed=1</script>" in window.go(f"/jobs/{job}").locator("main").inner_text()
    with page.expect_download() as saved:
        page.locator("a", has_text="Save").first.click()
    assert saved.value.path().stat().st_size == len(HOSTILE.encode()) + size


def test_another_page_of_the_server_cannot_read_the_console(window: Window):
    page = window.page
    page.goto(f"{window.base}/ping")  # as a function's answer would, it has no policy of its own
    assert page.evaluate("fetch('/console/jobs').then(answer => answer.status)") == 403
    with page.expect_popup() as popup:
        page.evaluate("void (window.other = window.open('/console/jobs'))")
    popup.value.get_by_role("heading", name="Jobs").wait_for()
    look = "try { return window.other.document.documentElement.outerHTML } catch (error) { return String(error) }"
    assert "mark" not in page.evaluate(f"(() => {{ {look} }})()")
    window.faults.clear()  # the browser notes the 403


def test_a_list_renews_itself_and_leaves_a_selection_alone(world: World, window: Window):
    page = window.go("/jobs?tag=renewed")
    window.sees("No job fits")
    job = world.client.submit("echo", b"x", tags=["renewed"], delay_s=86_400)
    page.get_by_role("link", name=str(job)).wait_for(timeout=LONG_S * 1000)
    page.get_by_label(f"Select job {job}").check()
    window.sees("1 selected")
    world.client.submit("echo", b"x", tags=["renewed"], delay_s=86_400)
    page.wait_for_timeout(5500)
    assert page.get_by_label(f"Select job {job}").is_checked()


def test_one_of_many_jobs_is_found_by_its_argument_however_old_it_is(world: World, window: Window):
    window.go("").get_by_role("searchbox").first.fill("--hidden")
    window.page.keyboard.press("Enter")
    found = window.page.get_by_role("link", name=world.names["job"])
    found.wait_for(timeout=LONG_S * 1000)
    assert found.count() == 1
    assert window.page.get_by_text("jobs so far").first.is_visible()


def test_keys_lead_through_the_pages(window: Window):
    page = window.go("/jobs")
    page.locator("h1").click()
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.locator("tr.here").get_attribute("data-row") == page.locator("tr[data-row]").nth(1).get_attribute(
        "data-row"
    )
    page.keyboard.press("x")
    assert page.locator("tr.here input").is_checked()
    page.keyboard.press("g")
    page.keyboard.press("w")
    page.get_by_role("heading", name="Workers").wait_for()


PATHS = [*dict.fromkeys(path for _, path in VIEWS), "/audit", "/functions/shown", "/jobs/{failed}", "/sign-in"]
SCHEMES: dict[str, Any] = {"dark": {"runOnly": ["color-contrast"]}, "light": {}}
"""What axe looks for in each: pages differ in nothing but colours."""


def test_no_page_has_a_serious_barrier_nor_is_wider_than_a_small_telephone(world: World, window: Window):
    if not AXE.exists():
        pytest.skip(NO_AXE)
    axe, found = AXE.read_text(), []
    for path in PATHS:
        page = window.go(path.format(**world.names))
        page.evaluate(axe)
        for scheme, options in SCHEMES.items():
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # or colours change bit by bit
            result = page.evaluate("more => axe.run(document, {resultTypes: ['violations'], ...more})", options)
            found += [
                (path, scheme, each["id"], each["nodes"][0]["html"][:200])
                for each in result["violations"]
                if each["impact"] in {"serious", "critical"}
            ]
        page.set_viewport_size({"width": 360, "height": 700})
        if page.evaluate("document.documentElement.scrollWidth") > 360:
            found.append((path, "", "wider than 360 px", ""))
        page.set_viewport_size({"width": 1280, "height": 800})
    assert not found
