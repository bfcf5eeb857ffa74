"""Names of modules and lambdas: which there are, and how they are written."""

import pytest

from piecework.protocol.ids import ID_MAX, Id
from piecework.protocol.names import LambdaName, ModuleName, is_lambda_name, is_name

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


def test_a_number_is_no_name_of_a_lambda():
    assert all(map(is_lambda_name, ("v2", "2.0", "x" * 100)))
    assert not any(map(is_lambda_name, ("2", "123456", "", ".", "a b", "a@1", "x" * 101)))


@pytest.mark.parametrize(
    ("ref", "read"),
    [
        (12, Id(12)),
        ("12", Id(12)),
        ("upper", LambdaName("upper")),
        ("upper@12", LambdaName("upper", Id(12))),
        ("Upper case, once", LambdaName("Upper case, once")),
        ("hola/blue@7", LambdaName("hola/blue", Id(7))),
        ("a@b", LambdaName("a@b")),
        ("@12", LambdaName("@12")),
        ("upper@", LambdaName("upper@")),
    ],
)
def test_a_lambda_is_named_by_its_id_its_name_or_both(ref: str | int, read: Id | LambdaName):
    found = LambdaName.parse(ref)
    assert (found, type(found)) == (read, type(read))
    assert str(found) == str(ref)


@pytest.mark.parametrize("ref", ["", -1, ID_MAX + 1, str(ID_MAX + 1), f"upper@{ID_MAX + 1}", True])
def test_what_names_no_lambda_is_refused(ref: str | int):
    with pytest.raises(ValueError, match="id"):
        LambdaName.parse(ref)
