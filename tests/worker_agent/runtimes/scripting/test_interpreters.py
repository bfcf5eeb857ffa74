"""Which interpreters a node has, and those that its operator adds."""

import hashlib

import pytest

from piecework.worker_agent.config.settings import Settings, SettingsError
from piecework.worker_agent.errors import InterpreterError
from piecework.worker_agent.runtimes import RUNTIME_NAMES
from piecework.worker_agent.runtimes.engine_facts import describe_engine
from piecework.worker_agent.runtimes.scripting.interpreters import KNOWN, PACKAGED, find_interpreters, list_names

PACKAGED_NAMES = ("javascript", "micropython", "python3.12")


def write(folder, text, name="ruby", wasm="ruby.wasm"):
    (folder / wasm).touch()
    (folder / f"{name}.toml").write_text(text)


def test_interpreters_of_packages_are_here_and_lua_is_not(tmp_path):
    assert list_names(find_interpreters(tmp_path)) == PACKAGED_NAMES
    assert {each.name for each in KNOWN} == {*PACKAGED_NAMES, "lua5.4"}
    assert all(each.checksum for each in KNOWN if each.name in PACKAGED)


def test_agent_offers_what_it_can_run_with_all_names(tmp_path):
    settings = Settings(state=tmp_path)
    assert settings.list_runtimes() == (*RUNTIME_NAMES, *PACKAGED_NAMES)
    folder = tmp_path / "interpreters"
    folder.mkdir()
    (folder / f"lua5.4-{'0' * 64}.wasm").touch()
    write(folder, 'wasm = "ruby.wasm"\nargv = ["ruby", "{script}", "{args}"]\naliases = ["rb"]')
    names = (
        *RUNTIME_NAMES,
        "javascript",
        "lua5.4",
        "dlabLua",
        "dlabLua54",
        "micropython",
        "python3.12",
        "ruby",
        "rb",
    )
    assert settings.list_runtimes() == names
    assert Settings(state=tmp_path, runtimes=("dlabLua", "rb")).list_runtimes() == ("dlabLua", "rb")


def test_runtime_whose_interpreter_is_missing_cannot_be_asked_for(tmp_path):
    with pytest.raises(SettingsError, match=r"runtime 'lua5\.4': this node can run .* `worker-agent runtimes`"):
        Settings(state=tmp_path, runtimes=("lua5.4",))


def test_file_that_is_being_built_is_no_interpreter(tmp_path):
    (tmp_path / "lua5.4-half.wasm").touch()
    assert "lua5.4" not in list_names(find_interpreters(tmp_path))


def test_package_of_another_version_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setitem(PACKAGED, "javascript", PACKAGED["javascript"].__class__("wasmtime", "0", "x"))
    assert "javascript" not in list_names(find_interpreters(tmp_path))


def test_described_interpreter_without_its_module_says_where_it_belongs(tmp_path):
    write(tmp_path, 'wasm = "gone.wasm"\nargv = ["{script}"]')
    found = find_interpreters(tmp_path)[-1]
    assert (found.name, found.wasm, found.advice) == ("ruby", None, f"put it at {tmp_path / 'gone.wasm'}")


@pytest.mark.parametrize(
    ("text", "name", "hint"),
    [
        ("wasm = 1", "ruby", "ruby.toml"),
        ("wasm = ", "ruby", "ruby.toml"),
        ('wasm = "ruby.wasm"', "ruby", "argv"),
        ('wasm = "ruby.wasm"\nargv = ["{script}"]\nspeed = 1', "ruby", "speed"),
        ('wasm = "ruby.wasm"\nargv = ["ruby"]', "ruby", "the place of the script"),
        ('wasm = "ruby.wasm"\nargv = ["{script}"]\nscript = "../x"', "ruby", "name of a file"),
        ('wasm = "ruby.wasm"\nargv = ["{script}"]\nsha256 = "x"', "ruby", "64 hexadecimal"),
        ('wasm = "ruby.wasm"\nargv = ["{script}"]\nstubs = {"a.b" = "if"}', "ruby", "stubs"),
        ('wasm = "ruby.wasm"\nargv = ["{script}"]\nstubs = {"ab" = "i"}', "ruby", "stubs"),
        ('wasm = "ruby.wasm"\nargv = ["{script}"]', "ruby+fast", "cannot be the name"),
        ('wasm = "ruby.wasm"\nargv = ["{script}"]', "wasi", "two runtimes are called 'wasi'"),
        ('wasm = "ruby.wasm"\nargv = ["{script}"]\naliases = ["dlabLua"]', "ruby", "two runtimes"),
    ],
)
def test_bad_description_is_named(tmp_path, text, name, hint):
    write(tmp_path, text, name)
    with pytest.raises(InterpreterError, match=hint):
        find_interpreters(tmp_path)


def test_receipts_name_the_module_that_interprets(tmp_path):
    write(tmp_path, 'wasm = "ruby.wasm"\nargv = ["ruby", "{script}"]\naliases = ["rb"]')
    empty = hashlib.sha256(b"").hexdigest()
    python = next(each.checksum for each in KNOWN if each.name == "python3.12")
    for runtime, checksum in (("rb", empty), ("python3.12+net", python), ("wasi", None), ("lua5.4", None)):
        assert describe_engine("cranelift", runtime, tmp_path).interpreter == checksum
    (tmp_path / "ruby.toml").write_text("no description")
    assert describe_engine("pulley", "rb", tmp_path).interpreter is None
