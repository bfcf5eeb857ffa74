"""Paths of calls, whatever comes."""

from contextlib import suppress
from urllib.parse import unquote

from hypothesis import example, given, strategies as st

from piecework.protocol.names import is_name
from piecework.server.forwarding.messages import CallRefused
from piecework.server.forwarding.paths import read_place
from piecework.server.forwarding.upstreams import Upstream

PIECES = st.sampled_from(
    [
        "hola",
        "blue",
        "default",
        "/",
        "//",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        "%2f",
        "%5c",
        "\\",
        "%",
        "%00",
        "a",
        "é",
        "%C3",
    ]
)
PATHS = st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=30)
REVISIONS = {"blue", "..."}


@given(PATHS)
@example("hola/%2e%2e%2fblue")
@example("hola/..\\blue")
@example("%68ola/blue")
def test_a_path_is_refused_or_taken_apart_without_a_change(path: str):
    with suppress(CallRefused):
        place = read_place(path)
        assert is_name(place.function)
        assert path.endswith(place.rest)
        assert unquote(path[: len(path) - len(place.rest)]) == place.function
        revision, deeper = place.split(REVISIONS)
        assert revision in REVISIONS | {"default"}
        assert place.rest.endswith(deeper)
        assert deeper == "" or deeper.startswith("/")


@given(PATHS, st.sampled_from(["", "/", "/base", "/base/"]))
def test_no_path_leads_out_of_the_url(path: str, base: str):
    with suppress(CallRefused):
        _, deeper = read_place(path).split(REVISIONS)
        asked = Upstream(f"http://host{base}").target(deeper, "")
        assert asked.startswith(base.rstrip("/") or "/")
        parts = unquote(asked).replace("\\", "/").split("/")
        assert not {".", ".."} & set(parts)
