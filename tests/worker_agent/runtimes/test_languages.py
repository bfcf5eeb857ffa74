"""The committed samples of other languages, which need no compiler: they do what those in C do."""

from pathlib import Path

import pytest

from piecework.protocol.codes import ErrorKind

SAMPLES = Path(__file__).parents[3] / "samples"
TEXT = "grüße, " * 20_000


def read(name):
    return (SAMPLES / f"{name}.wasm").read_bytes()


@pytest.mark.parametrize("language", ["rust", "assemblyscript"])
def test_uppercase_knows_all_letters(run, language):
    done = run(read(f"{language}/uppercase"), given=TEXT.encode())
    assert (done.error, done.output) == (None, TEXT.upper().encode())


@pytest.mark.parametrize("name", ["sum", "assemblyscript/sum"])
@pytest.mark.parametrize(
    ("given", "found"), [(b"[1, 2.5, -4]", b"-0.5\n"), (b" []\n", b"0\n"), (b"[1e3,2]", b"1002\n")]
)
def test_sum_adds_up(run, name, given, found):
    done = run(read(name), given=given)
    assert (done.error, done.output) == (None, found)


@pytest.mark.parametrize("name", ["sum", "assemblyscript/sum"])
@pytest.mark.parametrize("given", [b"", b"7", b"[x]", b"[1", b"{}"])
def test_sum_refuses_what_is_no_list_of_numbers(run, name, given):
    done = run(read(name), given=given)
    assert done.error.kind is ErrorKind.GUEST
    assert "not a list of numbers" in done.error.message


@pytest.mark.parametrize(
    ("given", "found"),
    [(b'{"say": "hello"}', b'"HELLO"'), (b'{"url": "http://example.org/"}', b'{"status":0,"bytes":0}')],
)
def test_function_of_funless_in_rust(run, given, found):
    done = run(read("rust/funless_fetch"), runtime="funless", given=given)
    assert (done.error, done.output) == (None, found)


def test_function_of_funless_in_rust_says_what_it_misses(run):
    done = run(read("rust/funless_fetch"), runtime="funless", given=b"{}")
    assert done.error.message == "the input has neither `url` nor `say`"
