"""Names of modules: which there are, and how they are written."""

import pytest

from piecework.protocol.names import ModuleName, is_name

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("text", ["hola", "0.0.1", "a_b-c", "v1..2", "...", "x" * 100])
def test_a_name_is_what_can_stand_in_a_path(text: str):
    assert is_name(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a b", "é", "a\n", "a%2eb", "a@b", "x" * 101])
def test_what_could_mean_another_place_is_no_name(text: str):
    assert not is_name(text)


def test_a_module_is_read_and_written_with_and_without_its_digest():
    name = ModuleName.parse("k33g/hola/0.0.1")
    assert (name, str(name), name.file) == (("k33g", "hola", "0.0.1", ""), "k33g/hola/0.0.1", "hola.wasm")
    pinned = ModuleName.parse(f"k33g/hola/0.0.1@sha256:{HEX.upper()}")
    assert (pinned.digest, str(pinned), pinned.path) == (HEX, f"k33g/hola/0.0.1@sha256:{HEX}", "k33g/hola/0.0.1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hola",
        "k33g/hola",
        "a/b/c/d",
        "a//c",
        "a/../c",
        "/a/b",
        "a/b/c@sha256:",
        "a/b/c@sha256:12",
        "a/b/c@md5:1",
    ],
)
def test_what_is_no_name_of_a_module_is_refused_with_the_form_it_has(text: str):
    with pytest.raises(ValueError, match=r"is not ORG/MODULE/TAG|is not 64 hex digits"):
        ModuleName.parse(text)
