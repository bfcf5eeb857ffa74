"""A browser without a window for the console: it follows forms as they stand in a page."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from house import House
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from piecework.server.services.tokens.token_acts import create_token

ORIGIN = "http://localhost"
VOID = {"meta", "link", "input", "img", "br", "hr"}


@dataclass
class Form:
    """A form of a page, and what it would send."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[str] = field(default_factory=list)


class PageReader(HTMLParser):
    """Reads a page: its forms, its text, and what the policy for its content would refuse."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.text = ""
        self.refused: list[str] = []
        self.open: list[str] = []
        self._form: Form | None = None
        self._area: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.text += " " if tag in {"td", "th", "dt", "dd", "li", "button"} else ""
        if tag not in VOID:
            self.open.append(tag)
        self.refused += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and not (given.get("src") or "").startswith("/console/static/")):
            self.refused.append(tag)
        for name in ("href", "src", "action"):
            if (given.get(name) or "/").split(":")[0].lower() in {"javascript", "data", "http", "https"}:
                self.refused.append(f"{tag} {name}={given[name]}")
        if tag == "a":
            self.links.append(given.get("href") or "")
        if tag == "form":
            self._form = Form(given.get("action") or "", (given.get("method") or "get").lower())
            self.forms.append(self._form)
        self._take_field(tag, given)

    def _take_field(self, tag: str, given: dict[str, str | None]) -> None:
        if self._form is None:
            return
        if tag == "button" and given.get("name"):
            self._form.buttons.append(f"{given['name']}={given.get('value')}")
        is_off = given.get("type") in {"checkbox", "radio"} and "checked" not in given
        if tag == "input" and given.get("name") and not is_off and "disabled" not in given:
            self._form.fields.append((given["name"] or "", given.get("value") or ""))
        if tag == "textarea":
            self._area = given.get("name")
            self._form.fields.append((self._area or "", ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.open)
        if tag == "form":
            self._form = None
        if tag == "textarea":
            self._area = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._area and self._form:
            name, text = self._form.fields[-1]
            self._form.fields[-1] = (name, text + data)

    def form(self, action: str) -> Form:
        """Return the first form that leads to a place; one that acts before one that asks."""
        found = [each for each in self.forms if each.action == action]
        return min(found, key=lambda each: each.method != "post")


@dataclass
class Browser:
    """Somebody at the pages of a house, whose client keeps cookies from then on."""

    house: House

    def __post_init__(self) -> None:
        self.house.client = self.house.app.test_client()

    def sign_in(self, scope: str, name: str = "ana") -> str:
        """Make a token and sign in with it. Returns its secret."""
        secret = create_token(self.house.services.database, name, scope, self.house.clock())
        self.house.clock.forward(2)
        self.post("/console/sign-in", {"token": secret, "to": "/console/jobs"}, status=303)
        return secret

    def get(self, path: str, status: int = 200, **more: Any) -> PageReader:
        return read(self.house.client.get(path, buffered=True, **more), status)

    def post(self, path: str, fields: Any, status: int = 200, origin: str | None = ORIGIN) -> PageReader:
        headers = {} if origin is None else {"Origin": origin}
        return read(self.house.client.post(path, data=MultiDict(fields), headers=headers), status)

    def send(self, page: PageReader, place: str, /, status: int = 200, **changes: Any) -> PageReader:
        """Send a form of a page with some fields filled in; a list: several of one name."""
        form = page.form(place)
        lists = {name: value if isinstance(value, list) else [value] for name, value in changes.items()}
        fields = [(name, text) for name, text in form.fields if name not in lists]
        fields += [(name, text) for name, texts in lists.items() for text in texts]
        return self.post(form.action, fields, status)

    def follow(self, page: PageReader, place: str, /, **changes: Any) -> PageReader:
        """Send a form and go where its answer leads."""
        form = page.form(place)
        fields = {**dict(form.fields), **changes}
        answer = self.house.client.post(form.action, data=fields, headers={"Origin": ORIGIN})
        assert answer.status_code == 303, (answer.status_code, answer.get_data(as_text=True)[-1500:])
        return self.get(answer.headers["Location"])


def read(answer: TestResponse, status: int) -> PageReader:
    """Read a page, which must have this status and nothing that its policy refuses."""
    html = answer.get_data(as_text=True)
    shown = re.sub(r"\s+", " ", html)[-1500:]
    assert answer.status_code == status, (answer.status_code, shown)
    assert "script-src 'self'; style-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    found = PageReader(html)
    assert not found.refused, found.refused
    assert not found.open, found.open
    return found
