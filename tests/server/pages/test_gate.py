"""Who gets in, and what lets a form act."""

import hmac
import re
from pathlib import Path

import pytest
from console import ORIGIN, Browser
from house import House

from piecework.server.pages.gate import COOKIE
from piecework.server.pages.table import PAGES
from piecework.server.services.tokens.sessions import KEY_FILE, NAME, SESSION_MS, Sessions
from piecework.server.services.tokens.token_acts import create_token, revoke_token
from piecework.server.store.engine.snapshots import copy_database
from piecework.server.store.stock import signing_keys

FORMS = [each.path for each in PAGES if each.method == "POST"]


def cookie_of(house: House) -> str:
    cookie = house.client.get_cookie(COOKIE, path="/console")
    assert cookie is not None
    return cookie.value


def test_a_browser_that_opens_the_server_is_led_to_the_console_and_a_program_is_not(house: House):
    answer = house.client.get("/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "console")
    assert house.call("GET", "/", status=404)["status"] == "error"


def test_with_tokens_every_page_leads_to_the_sign_in_and_back(house: House, browser: Browser):
    create_token(house.services.database, "t", "view", house.clock())
    for each in PAGES:
        path = "/console" + re.sub(r"<[^>]*>", "1", each.path)
        answer = house.client.open(path, method=each.method, headers={"Origin": ORIGIN})
        assert answer.status_code == 303, path
        assert answer.headers["Location"].startswith("/console/sign-in?to=%2Fconsole"), path
    assert browser.get("/console/sign-in?to=/console/jobs").form("/console/sign-in").fields[0] == (
        "to",
        "/console/jobs",
    )


def test_a_part_that_comes_anew_without_a_session_has_the_whole_page_lead_to_the_sign_in(house: House):
    create_token(house.services.database, "t", "view", house.clock())
    answer = house.client.get("/console/jobs", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/console/sign-in?to=%2Fconsole"


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/console//evil", "/job", "/console/\\x", ""]
)
def test_the_sign_in_leads_to_no_other_place(browser: Browser, to: str):
    assert browser.get(f"/console/sign-in?to={to}").form("/console/sign-in").fields[0] == ("to", "/console")


def test_the_cookie_is_no_secret_that_programs_take_and_no_script_sees_it(house: House, browser: Browser):
    secret = browser.sign_in("view")
    cookie = house.client.get_cookie(COOKIE, path="/console")
    assert cookie is not None
    assert (cookie.http_only, cookie.same_site, cookie.secure, cookie.path) == (True, "Strict", False, "/console")
    assert secret not in cookie.value
    assert house.client.get("/job", headers={"Authorization": f"Bearer {cookie.value}"}).status_code == 401
    assert house.client.get("/job").status_code == 401


def test_a_session_counts_at_all_servers_of_a_database(house: House, browser: Browser):
    browser.sign_in("view")
    other = House(house.data / "other", f"sqlite:///{house.data / 'piecework.db'}")
    headers = {"Cookie": f"{COOKIE}={cookie_of(house)}"}
    assert other.client.get("/console/jobs", headers=headers).status_code == 200
    other.close()


def test_sessions_of_a_version_that_kept_the_key_in_a_file_go_on(tmp_path: Path):
    house = House(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(bytes(range(32)))
    sessions = Sessions(house.services.database, tmp_path)
    assert sessions.sign("form", "x") == hmac.new(bytes(range(32)), b"form\nx", "sha256").hexdigest()
    (tmp_path / KEY_FILE).write_bytes(bytes(32))
    assert Sessions(house.services.database, tmp_path).sign("form", "x") == sessions.sign("form", "x")
    house.close()


def test_no_backup_has_the_key_that_signs_sessions(house: House, browser: Browser, tmp_path: Path):
    browser.sign_in("view")
    database = house.services.database
    with database.read() as connection:
        key = signing_keys.find_key(connection, NAME)
    assert key is not None
    assert key in (house.data / "piecework.db").read_bytes() + (house.data / "piecework.db-wal").read_bytes()
    copy_database(house.data / "piecework.db", tmp_path / "copy.db")
    assert key not in (tmp_path / "copy.db").read_bytes()


def test_behind_tls_the_cookie_goes_over_tls_alone(house: House):
    secret = create_token(house.services.database, "t", "view", house.clock())
    answer = house.client.post(
        "/console/sign-in", data={"token": secret}, headers={"Origin": "https://q.example", "Host": "q.example"}
    )
    assert "Secure" in answer.headers["Set-Cookie"]


def test_a_wrong_token_is_told_and_begins_nothing(house: House, browser: Browser):
    create_token(house.services.database, "t", "view", house.clock())
    page = browser.post("/console/sign-in", {"token": "pw_wrong"}, status=401)
    assert "the token is not valid here" in page.text
    assert house.client.get_cookie(COOKIE, path="/console") is None


def must_sign_in(house: House) -> bool:
    answer = house.client.get("/console/jobs")
    return answer.status_code == 303 and answer.headers["Location"].startswith("/console/sign-in")


def test_a_session_ends_with_its_token_with_its_time_and_at_the_sign_out(house: House, browser: Browser):
    browser.sign_in("view", "one")
    browser.get("/console/jobs")
    revoke_token(house.services.database, "one", house.clock())
    house.clock.forward(2)
    assert must_sign_in(house)

    browser.sign_in("view", "two")
    house.clock.forward(SESSION_MS / 1000 + 1)
    assert must_sign_in(house)

    browser.sign_in("view", "three")
    browser.send(browser.get("/console/jobs"), "/console/sign-out", status=303)
    assert must_sign_in(house)


@pytest.mark.parametrize(
    "change", [lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), lambda text: "1" + text]
)
def test_a_session_that_was_changed_is_none(house: House, browser: Browser, change):
    browser.sign_in("admin")
    house.client.set_cookie(COOKIE, change(cookie_of(house)), path="/console")
    assert must_sign_in(house)


def test_sessions_outlive_a_restart(house: House, browser: Browser):
    browser.sign_in("view")
    house.restart()
    assert "ana" in browser.get("/console/jobs").text


@pytest.mark.parametrize("path", FORMS)
def test_no_form_acts_for_another_page(browser: Browser, path: str):
    path = "/console" + re.sub(r"<[^>]*>", "1", path)
    mark = browser.get("/console/jobs").form("/console/jobs/act").fields[0]
    assert mark[0] == "mark"
    for origin in ("http://evil.example", "http://localhost:3000", "http://[", "null", None):
        page = browser.post(path, [mark], status=403, origin=origin)
        assert "only pages of this server may send it" in page.text or "takes nothing from pages of" in page.text
    for wrong in ([], [("mark", "")], [("mark", mark[1][::-1])], [("mark", "é")]):
        assert "of another session" in browser.post(path, wrong, status=403).text


def test_the_mark_of_one_session_is_none_of_another(house: House, browser: Browser):
    browser.sign_in("submit", "one")
    mark = browser.get("/console/jobs").form("/console/sign-out").fields[0]
    browser.sign_in("submit", "two")
    assert "of another session" in browser.post("/console/jobs/act", [mark, ("action", "cancel")], status=403).text


def test_without_tokens_the_pages_only_show_unless_the_server_was_told_otherwise(tmp_path: Path):
    house = House(tmp_path / "readers")
    try:
        lambda_id = house.new_lambda()
        job = house.submit(lambda_id)
        browser = Browser(house)
        page = browser.get("/console/jobs")
        assert "read-only" in page.text
        assert not [each for each in page.forms if each.method == "post" and each.fields]
        mark = house.services.access.seal("")
        fields = [("mark", mark), ("action", "cancel"), ("whom", "ids"), ("id", job)]
        assert "--console-acts" in browser.post("/console/jobs/act/do", fields, status=403).text
        assert house.state(job) == "Enqueued"
    finally:
        house.close()


def test_scripts_of_other_pages_of_the_server_read_no_page(house: House, browser: Browser):
    browser.sign_in("submit")
    asked = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
    for headers in (asked, asked | {"HX-Request": "true"}, asked | {"Piecework-Mark": "x"}):
        assert house.client.get("/console/jobs", headers=headers).status_code == 403
    mark = browser.get("/console/jobs").form("/console/sign-out").fields[0][1]
    assert house.client.get("/console/jobs", headers=asked | {"Piecework-Mark": mark}).status_code == 200
    opened = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert house.client.get("/console/jobs", headers=opened).status_code == 200


def test_a_token_that_may_only_look_sees_no_buttons_and_cannot_act(house: House, browser: Browser):
    job = house.submit(house.new_lambda())
    browser.sign_in("view")
    page = browser.get("/console/jobs")
    assert [each.action for each in page.forms if each.method == "post" and each.fields] == ["/console/sign-out"]
    fields = [page.form("/console/sign-out").fields[0], ("action", "cancel"), ("whom", "ids"), ("id", job)]
    assert "may only look" in browser.post("/console/jobs/act/do", fields, status=403).text
    assert job in browser.get("/console/jobs").text


def test_what_is_done_with_a_form_is_in_the_audit(house: House, browser: Browser):
    house.new_lambda(name="upper")
    browser.sign_in("operate", "ops")
    mark = browser.get("/console/jobs").form("/console/sign-out").fields[0]
    browser.post("/console/holds", [mark, ("kind", "lambda"), ("target", "upper"), ("note", "why")], status=303)
    browser.post("/console/holds", [mark, ("kind", "lambda"), ("target", "x\0y")], status=422)
    text = " ".join(browser.get("/console/audit?act=pause").text.split())
    assert "ops pause lambda upper" in text
    assert "pause lambda" not in browser.get("/console/audit?who=nobody").text


def test_a_token_of_an_agent_opens_no_page(browser: Browser):
    browser.sign_in("worker", "node")
    assert "the token node has scope worker" in browser.get("/console/jobs", status=403).text


def test_a_name_that_was_bound_to_this_machine_opens_no_page(house: House):
    assert house.client.get("/console/jobs", headers={"Host": "evil.example"}).status_code == 403


def test_files_are_packed_and_kept_and_nothing_else_is_served(house: House, browser: Browser):
    page = house.client.get("/console/jobs").get_data(as_text=True)
    places = re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page)
    total = len(page)
    for place in places:
        answer = house.client.get(place, headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        total += len(answer.data)
    assert total < 150_000
    for path in ("../site.py", "vendor/../../site.py", "console", "%2e%2e/gate.py"):
        assert house.client.get(f"/console/static/{path}").status_code == 404
