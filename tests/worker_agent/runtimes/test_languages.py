"""The committed samples of other languages, which need no compiler: they do what those in C do."""

import json
import os
import runpy
import socket
import threading
from pathlib import Path

import pytest

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.services.access import NodeRules

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


@pytest.mark.parametrize("name", ["funless_fetch", "rust/funless_fetch", "assemblyscript/funless_fetch"])
def test_function_fetches_a_url(run, name):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 203 Fine\r\nContent-Length: 5\r\n\r\nhello")

        thread = threading.Thread(target=answer)
        thread.start()
        where = f"127.0.0.1:{server.getsockname()[1]}"
        url = json.dumps(f"http://{where}/")
        done = run(
            read(name),
            runtime="funless",
            given=(f'{{"url": {url}}}' if "/" in name else url).encode(),
            grants=Grants(http=[where]),
            rules=NodeRules(http=(where, "127.0.0.1/32")),
        )
        thread.join()
    assert (done.error, done.output) == (None, b'{"status":203,"bytes":5}' if "/" in name else b"203")


def test_function_of_funless_in_assemblyscript_says_what_it_misses(run):
    done = run(read("assemblyscript/funless_fetch"), runtime="funless", given=b"{}")
    assert done.error.message == "the input has no `url`"


def test_function_of_funless_in_rust_says_what_it_misses(run):
    done = run(read("rust/funless_fetch"), runtime="funless", given=b"{}")
    assert done.error.message == "the input has neither `url` nor `say`"


@pytest.fixture
def install_rust(tmp_path, monkeypatch):
    """Return a function that puts a compiler for some targets behind those that are in PATH already."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    (tmp_path / "lib").mkdir()

    def install(name, *targets):
        rustc = tmp_path / name / "rustc"
        rustc.parent.mkdir()
        libraries = "; ".join(f"[ $4 = {target} ] && echo {tmp_path / 'lib'} && exit" for target in targets)
        # Of a target without its library it names a folder, too.
        rustc.write_text(f"#!/bin/sh\n{libraries}\n[ $4 = wasm32-wasip1 ] && echo /nowhere/lib && exit\nexit 1\n")
        rustc.chmod(0o755)
        monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{rustc.parent}")
        return str(rustc)

    return install


def test_compiler_of_rust_that_has_the_target_is_found_behind_one_that_has_not(install_rust):
    find_rust = runpy.run_path(str(SAMPLES / "languages.py"))["find_rust"]
    assert find_rust() is None
    install_rust("rustup")
    assert find_rust() is None
    debian = install_rust("debian", "wasm32-wasi")
    assert find_rust() == (debian, "wasm32-wasi")
