"""From code to a module that can be instantiated."""

import pytest
import structlog.testing
import wasmtime

from piecework.worker_agent.errors import BrokenBlobError
from piecework.worker_agent.runtimes.base import Build, CodeFile, LoadError
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain
from piecework.worker_agent.runtimes.linkage import capi, choice
from piecework.worker_agent.runtimes.linkage.choice import GUESTS_AT_ONCE


@pytest.fixture
def code(store_code, build_guest):
    return CodeFile(*store_code(build_guest("wasi/echo")))


@pytest.fixture
def compiled_files(tmp_path):
    return lambda: sorted(tmp_path.rglob("*.cwasm"))


def test_module_is_compiled_once_and_loaded_from_disk_then(tmp_path, code, compiled_files):
    Toolchain(tmp_path).load(code, Build()).close()
    (path,) = compiled_files()
    file_number = path.stat().st_ino
    # Without its code it can be loaded only from disk.
    start = tmp_path / "start"
    start.write_bytes(code.read_start(8))
    module = Toolchain(tmp_path).load(CodeFile(start, code.checksum), Build())
    assert "_start" in [export.name for export in module.exports]
    assert [found.stat().st_ino for found in compiled_files()] == [file_number]


def test_each_build_has_machine_code_of_its_own(tmp_path, code, compiled_files):
    toolchain = Toolchain(tmp_path)
    builds = [Build(), Build(metered=True), Build(metered=True, deterministic=True)]
    for build in builds:
        toolchain.load(code, build).close()
    assert len(compiled_files()) == 3
    assert len({id(toolchain.engine(build)) for build in builds}) == 3
    assert toolchain.engine(Build()) is toolchain.engine(Build())


def test_file_that_wasmtime_does_not_take_is_made_again(tmp_path, code, compiled_files):
    toolchain = Toolchain(tmp_path)
    toolchain.load(code, Build()).close()
    (path,) = compiled_files()
    path.unlink()
    toolchain._store.add(f"{code.checksum}-", b"machine code of another program")
    assert "_start" in [export.name for export in toolchain.load(code, Build()).exports]
    (path,) = compiled_files()
    assert path.stat().st_size > 1000


def test_machine_code_of_another_build_is_not_taken(tmp_path, code):
    toolchain = Toolchain(tmp_path)
    foreign = wasmtime.Module(toolchain.engine(Build(metered=True)), code.read()).serialize()
    toolchain._store.add(f"{code.checksum}-", bytes(foreign))
    module = toolchain.load(code, Build())
    assert bytes(module.serialize()) != bytes(foreign)


def test_code_that_does_not_fit_its_checksum_is_not_compiled(tmp_path, store_code, build_guest):
    path, _ = store_code(build_guest("wasi/echo"))
    with pytest.raises(BrokenBlobError):
        Toolchain(tmp_path).load(CodeFile(path, "0" * 64), Build())


@pytest.mark.parametrize("content", [b"", b"\0asm", b"#!/bin/sh"])
def test_damaged_code_is_not_blamed_on_its_author(tmp_path, content):
    path = tmp_path / "code"
    path.write_bytes(content)
    with pytest.raises(BrokenBlobError):
        Toolchain(tmp_path).load(CodeFile(path, "0" * 64), Build())


def test_missing_code_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Toolchain(tmp_path).load(CodeFile(tmp_path / "none", "0" * 64), Build())


def test_second_memory_would_escape_the_limit_and_is_refused(tmp_path, store_code, build_text):
    code = build_text('(module (memory 1) (memory 1) (func (export "_start")))')
    with pytest.raises(LoadError, match="more than one memory"):
        Toolchain(tmp_path).load(CodeFile(*store_code(code)), Build())


COUNTING = """
(module
  (memory (export "memory") 1)
  (global $runs (mut i32) (i32.const 0))
  (table $places 1 funcref)
  (elem declare func $count)
  (func $count (export "count") (result i32)
    (i32.store (i32.const 40000) (i32.add (i32.load (i32.const 40000)) (i32.const 1)))
    (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
    (if (ref.is_null (table.get $places (i32.const 0)))
      (then (table.set $places (i32.const 0) (ref.func $count)))
      (else (unreachable)))
    (i32.add (i32.load (i32.const 40000)) (global.get $runs))))
"""


def run_counting(engine):
    """Return what a guest finds that counts its runs everywhere where it can leave something."""
    store = wasmtime.Store(engine)
    store.set_epoch_deadline(1)
    with wasmtime.Module(engine, COUNTING) as module:
        instance = wasmtime.Instance(store, module, [])
    return instance.exports(store)["count"](store), store


def test_guest_finds_nothing_that_another_left(tmp_path):
    engine = Toolchain(tmp_path).engine(Build())
    for _ in range(3 * GUESTS_AT_ONCE):
        found, store = run_counting(engine)
        store.close()
        assert found == 2


def test_engine_has_places_for_several_guests_at_once(tmp_path):
    engine = Toolchain(tmp_path).engine(Build())
    stores = [run_counting(engine)[1] for _ in range(GUESTS_AT_ONCE)]
    with pytest.raises(wasmtime.WasmtimeError, match="concurrent"):
        run_counting(engine)
    stores.pop().close()
    assert run_counting(engine)[0] == 2


@pytest.mark.parametrize("cause", ["version", "addresses"])
def test_without_a_pool_guests_run_too(tmp_path, monkeypatch, cause):
    if cause == "version":
        monkeypatch.setattr(capi, "WRITTEN_FOR", "0.0")
    else:
        monkeypatch.setattr(choice, "GUESTS_AT_ONCE", 2**17)
    with structlog.testing.capture_logs() as logs:
        engine = Toolchain(tmp_path).engine(Build())
    assert [line["event"] for line in logs] == ["guests get their memory the slow way"]
    stores = [run_counting(engine)[1] for _ in range(2 * GUESTS_AT_ONCE)]
    assert len(stores) == 2 * GUESTS_AT_ONCE
