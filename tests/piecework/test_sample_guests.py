"""The samples that come with the package: all are told, and copies have what they need."""

import json
import re

import pytest
from click.testing import CliRunner

from piecework.cli.main import main
from piecework.sample_guests import FOLDER, copy_samples, describe, find_samples, get_samples


@pytest.fixture
def run():
    def run(*words, exit_code=0):
        ran = CliRunner().invoke(main, ["samples", *map(str, words)], prog_name="piecework")
        assert ran.exit_code == exit_code, ran.output
        return ran

    return run


def list_files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_sample_is_listed_with_what_it_does(run):
    listed = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert {path.stem for path in FOLDER.glob("*.c")} < listed.keys()
    assert {"rust/uppercase", "assemblyscript/sum", "scripts/json_sum.lua"} < listed.keys()
    assert all(row["meaning"] and row["bytes"] for row in listed.values())
    assert run().stdout == run("list").stdout
    assert run().stdout.splitlines()[0].split() == ["name", "bytes", "what", "it", "does"]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("/* sum: adds up.\n * In two ways. */\nint x;", "sum: adds up."),
        ("/* a: b, and\n   c. More. */", "a: b, and c."),
        ("//! Adds\n//! up.\nuse x;", "Adds up."),
        ("-- Adds up: ASCII\nlocal a -- b", "Adds up: ASCII"),
        ('"""Adds up."""\n', "Adds up."),
        ("int x; /* late */", ""),
    ],
)
def test_a_sample_tells_what_it_does_first(text, meaning):
    assert describe(text) == meaning


def test_copies_have_all_that_their_sources_name(run, tmp_path):
    out = run("copy", "--all", tmp_path / "new").stdout
    copied = list_files(tmp_path / "new")
    assert {str(tmp_path / "new" / name) for name in copied} == set(out.splitlines())
    for name in copied:
        original = FOLDER / name
        assert (tmp_path / "new" / name).read_bytes() == original.read_bytes()
        if original.suffix in {".c", ".h"}:
            named = set(re.findall(r'^#include "(.+)"', original.read_text(), re.MULTILINE))
            assert named <= copied, name


def test_one_sample_comes_with_its_source_alone(tmp_path):
    copy_samples(get_samples(["word_frequencies.wasm", "assemblyscript/sum"]), tmp_path)
    assert list_files(tmp_path) == {
        "word_frequencies.wasm",
        "word_frequencies.c",
        "stream.h",
        "word_table.h",
        "assemblyscript/sum.wasm",
        "assemblyscript/sum.ts",
        "assemblyscript/input.ts",
    }


def test_a_file_of_the_user_is_kept(run, tmp_path):
    (tmp_path / "stream.h").write_text("mine")
    refused = run("copy", "echo", tmp_path, exit_code=1)
    assert f"{tmp_path}/stream.h is there already with other content: --force replaces it" in refused.stderr
    assert list_files(tmp_path) == {"stream.h"}
    run("copy", "--force", "echo", tmp_path)
    run("copy", "echo", tmp_path)
    assert (tmp_path / "stream.h").read_bytes() == (FOLDER / "stream.h").read_bytes()


@pytest.mark.parametrize("words", [["nothing", "d"], ["d"], ["--all", "echo", "d"], ["../echo", "d"], ["--all"]])
def test_words_that_mean_no_sample_write_nothing(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert "piecework samples copy --help" in run("copy", *words, exit_code=2).stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_file_is_told(run, tmp_path):
    (tmp_path / "echo.wasm").mkdir()
    assert "echo.wasm is there already" in run("copy", "--force", "echo", tmp_path, exit_code=1).stderr


def test_names_are_those_of_the_files():
    assert all((FOLDER / each.name).with_suffix(each.code.suffix) == each.code for each in find_samples())
