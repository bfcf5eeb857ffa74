"""The sample guests: built from the sources beside them, and doing what they say."""

import re
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest
from guests import SAMPLES, guest

from piecework import Client
from piecework.local import LocalAgent

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0
SIZE_MAX_BYTES = 100_000
NAMES = sorted(path.stem for path in SAMPLES.glob("*.c"))


def run(client: Client, name: str, content: bytes = b"", *args: str) -> bytes:
    lambda_id = client.create_lambda(guest(name), args=list(args))
    return client.result(client.submit(lambda_id, content, max_attempts=1), PATIENCE_S)


def frequencies(*texts: bytes) -> bytes:
    """Count words as samples/README.md defines them."""
    counts = sum((Counter(re.findall(rb"[a-z]+", text.lower())) for text in texts), Counter())
    return b"".join(b"%s %d\n" % item for item in sorted(counts.items()))


def test_the_committed_guests_are_what_their_sources_build(tmp_path: Path):
    subprocess.run([sys.executable, SAMPLES / "build.py", "--into", tmp_path], check=True, capture_output=True)
    assert {path.stem: path.read_bytes() for path in tmp_path.glob("*.wasm")} == {
        name: guest(name) for name in NAMES
    }
    assert max(len(guest(name)) for name in NAMES) < SIZE_MAX_BYTES


def test_the_readme_tells_of_every_guest():
    readme = (SAMPLES / "README.md").read_text()
    assert [name for name in NAMES if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("content", [b"", b"x", b"\0\xff\n" * 100_000], ids=["empty", "one", "binary"])
def test_echo_gives_back_what_it_reads(client: Client, agent: LocalAgent, content: bytes):
    assert run(client, "echo", content) == content


def test_uppercase_changes_ascii_letters_only(client: Client, agent: LocalAgent):
    text = "straße ~ ABC abc é".encode()
    assert run(client, "uppercase", text) == text.upper()


def test_count_bytes_counts_as_zlib_does(client: Client, agent: LocalAgent):
    noise = bytes(range(256)) * 1000
    assert run(client, "count_bytes", noise) == f"{len(noise)} 1000 {zlib.crc32(noise):08x}\n".encode()


@pytest.mark.parametrize(
    "text",
    [b"", b"...", b"word", "It's naïve: x2, A-b a_B.".encode(), b"many words " * 30_000 + b"end"],
    ids=["empty", "none", "one", "odd", "long"],
)
def test_word_frequencies_counts_as_python_does(client: Client, agent: LocalAgent, text: bytes):
    assert run(client, "word_frequencies", text) == frequencies(text)


def test_merge_frequencies_adds_up_and_can_be_merged_again(client: Client, agent: LocalAgent):
    texts = [b"a b", b"", b"b c c", b"C"]
    merged = run(client, "merge_frequencies", b"\n".join(map(frequencies, texts)))
    assert merged == frequencies(*texts)
    assert run(client, "merge_frequencies", merged + merged) == frequencies(*texts, *texts)


def test_merge_frequencies_names_the_line_that_is_no_count(client: Client, agent: LocalAgent):
    job = client.submit(client.create_lambda(guest("merge_frequencies")), b"a 1\nb x\n", max_attempts=1)
    [info] = client.wait([job], PATIENCE_S)
    assert info.error.message.endswith('line 2 is not "word count"')


def test_mandelbrot_tile_draws_the_same_pixels_whatever_the_tiles(client: Client, agent: LocalAgent):
    view = ["8", "4", "-0.5", "0", "3", "50"]
    whole = run(client, "mandelbrot_tile", b"0 0 8 4\n", *view)
    rows = [run(client, "mandelbrot_tile", f"0 {row} 8 1\n".encode(), *view) for row in range(4)]
    assert len(whole) == 8 * 4 * 3
    assert b"".join(rows) == whole


def test_burn_cpu_does_as_many_rounds_as_it_is_told(client: Client, agent: LocalAgent):
    assert run(client, "burn_cpu", b"", "rounds", "1234") == b"1234\n"
    assert int(run(client, "burn_cpu", b"", "20")) > 0
