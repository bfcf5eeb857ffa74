"""How long, and how many: what just fits is taken, and one more is refused before anything is stored."""

from collections.abc import Callable
from typing import Any

import pytest
from house import House

Ask = Callable[[House, int], tuple[str, str, Any]]


def job(field: str, value: Callable[[int], Any]) -> Ask:
    return lambda house, size: ("POST", "/job", {"lambda": house.new_lambda(), field: value(size)})


def new_lambda(field: str, value: Callable[[int], Any]) -> Ask:
    return lambda _, size: ("POST", "/lambda", {"codex": "0", "runtime": "default", field: value(size)})


def granted(kind: str, value: Callable[[int], Any]) -> Ask:
    return new_lambda("grants", lambda size: {kind: value(size)})


def worker(field: str, value: Callable[[int], Any]) -> Ask:
    return lambda _, size: ("POST", "/worker", {"runtime": ["default"], field: value(size)})


def contract(field: str) -> Ask:
    return lambda house, size: ("POST", f"/worker/{house.new_worker()}/contract", {"timeout": 0, field: size})


def registration(function: Callable[[int], str], url: Callable[[int], str]) -> Ask:
    return lambda _, size: (
        "POST", "/memory/functions/registration", {"function": function(size), "url": url(size)}
    )  # fmt: skip


def text(size: int) -> str:
    return "x" * size


def many(size: int) -> list[str]:
    return [f"x{number}" for number in range(size)]


def short_url(_: int) -> str:
    return "http://localhost:1"


BOUNDS: dict[str, tuple[Ask, int]] = {
    "the key of a job": (job("key", text), 255),
    "a tag of a job": (job("tags", lambda size: [text(size)]), 100),
    "tags of a job": (job("tags", many), 50),
    "args of a job": (job("args", lambda size: ["a", text(size - 1)]), 256 * 1024),
    "env of a job": (job("env", lambda size: {"NAME": text(size - 4)}), 256 * 1024),
    "attempts": (job("max_attempts", int), 100),
    "seconds of a delay": (job("delay_s", int), 316_224_000),
    "priority": (job("priority", int), 100),
    "jobs of a submission": (
        lambda house, size: ("POST", "/job", {"jobs": [{"lambda": house.new_lambda()}] * size}), 10_000
    ),
    "the runtime of a lambda": (new_lambda("runtime", text), 200),
    "a host that is granted": (granted("http", lambda size: [text(size)]), 300),
    "a variable that is granted": (granted("env", lambda size: [text(size)]), 300),
    "a directory that is granted": (granted("dirs", lambda size: ["/" + text(size - 1)]), 300),
    "hosts that are granted": (granted("http", many), 100),
    "a runtime of a worker": (worker("runtime", lambda size: [text(size)]), 200),
    "runtimes of a worker": (worker("runtime", many), 100),
    "a tag of a worker": (worker("tags", lambda size: [text(size)]), 200),
    "tags of a worker": (worker("tags", many), 100),
    "slots of a worker": (worker("slots", int), 1000),
    "jobs of a contract": (contract("max"), 1000),
    "the name of a function": (registration(text, short_url), 100),
    "the URL of a function": (registration(lambda _: "f", lambda size: "http://h/" + text(size - 9)), 500),
    "jobs of a list": (lambda _, size: ("GET", f"/job?limit={size}", None), 1000),
    "jobs that are named": (lambda _, size: ("GET", f"/job?ids={','.join(['1'] * size)}", None), 200),
}  # fmt: skip
NOT_NOTHING = (
    *("the key of a job", "a tag of a job", "attempts", "the runtime of a lambda", "a tag of a worker"),
    *("slots of a worker", "the name of a function", "jobs of a list"),
)


@pytest.mark.parametrize(("ask", "most"), BOUNDS.values(), ids=BOUNDS)
def test_what_just_fits_is_taken_and_one_more_is_not(house: House, ask: Ask, most: int):
    assert not is_refused(house, ask(house, most))
    assert is_refused(house, ask(house, most + 1))


@pytest.mark.parametrize("name", NOT_NOTHING)
def test_one_is_enough_and_none_is_not(house: House, name: str):
    ask, _ = BOUNDS[name]
    assert not is_refused(house, ask(house, 1))
    assert is_refused(house, ask(house, 0))


def is_refused(house: House, asked: tuple[str, str, Any]) -> bool:
    """Tell whether a request is refused for what is in it; that something is not there is another matter."""
    method, path, body = asked
    return house.client.open(path, method=method, json=body).status_code in {400, 413, 422}
