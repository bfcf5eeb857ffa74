"""What both linkages do alike, beyond what running guests shows, and which one is chosen."""

import pytest
import structlog.testing
import wasmtime

from piecework.modules import PAGE_BYTES
from piecework.worker_agent.runtimes.base import Build
from piecework.worker_agent.runtimes.linkage import Allowance, capi, choice
from piecework.worker_agent.runtimes.linkage.direct import DirectLinkage
from piecework.worker_agent.runtimes.linkage.public import PublicLinkage
from piecework.worker_agent.runtimes.wasi.errno import WasiError
from piecework.worker_agent.runtimes.wasi.memory import GuestMemory

ALLOWANCE = Allowance(memory_bytes=1 << 20, tables=1, table_elements=10)
SOURCE = """
(module
  (import "host" "mix" (func $mix (param i64 i32 i64) (result i32)))
  (import "host" "quiet" (func $quiet))
  (memory (export "memory") 1)
  (table (export "table") 1 funcref)
  (func (export "mix") (param i64 i32 i64) (result i32)
    (call $mix (local.get 0) (local.get 1) (local.get 2)))
  (func (export "quiet") (call $quiet))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "spin") (loop $again (br $again)))
  (func (export "odd") (param i64) (result i64) (local.get 0)))
"""


@pytest.fixture(params=[DirectLinkage, PublicLinkage], ids=["direct", "public"])
def make_guest_store(request, toolchain):
    engine = toolchain.engine(Build())
    module = wasmtime.Module(engine, SOURCE)
    opened = []

    def make(mix=max, quiet=lambda: None):
        linkage = request.param(engine)
        linkage.define("host", "mix", "IiI", mix, answers=True)
        linkage.define("host", "quiet", "", quiet, answers=False)
        prepared = linkage.prepare(module)
        guest_store = prepared.open(ALLOWANCE)
        opened.extend([guest_store, prepared])
        guest_store.instantiate()
        return guest_store

    yield make
    for each in opened:
        each.close()
        each.close()


@pytest.mark.parametrize("numbers", [(0, 0, 0), (-1, -2, -3), (2**63 - 1, 2**31 - 1, -(2**63)), (1 << 32, 1, 5)])
def test_numbers_arrive_as_they_were_passed(make_guest_store, numbers):
    heard = []

    def mix(*given):
        heard.append(given)
        return given[1]

    assert make_guest_store(mix).call("mix", *numbers) == numbers[1]
    assert heard == [numbers]


@pytest.mark.parametrize("linkage_class", [DirectLinkage, PublicLinkage])
@pytest.mark.parametrize("kinds", ["I", "iI", "Ii", "iIii", "iiiIi", "iii", "iIIi"])
def test_every_order_of_short_and_long_numbers_arrives(toolchain, linkage_class, kinds):
    numbers = tuple(-3 - place if kind == "i" else -(2**40) - place for place, kind in enumerate(kinds))
    types = " ".join("i32" if kind == "i" else "i64" for kind in kinds)
    passed = " ".join(f"(local.get {place})" for place in range(len(kinds)))
    source = f"""(module (import "host" "take" (func $take (param {types})))
      (func (export "pass") (param {types}) (call $take {passed})))"""
    heard = []
    linkage = linkage_class(toolchain.engine(Build()))
    linkage.define("host", "take", kinds, lambda *given: heard.append(given), answers=False)
    prepared = linkage.prepare(wasmtime.Module(toolchain.engine(Build()), source))
    guest_store = prepared.open(ALLOWANCE)
    guest_store.instantiate()
    guest_store.call("pass", *numbers)
    guest_store.close()
    prepared.close()
    assert heard == [numbers]


def test_the_host_sees_memory_that_grew_and_the_next_guest_sees_nothing_of_it(make_guest_store):
    for _ in range(2):
        guest_store = make_guest_store()
        memory = GuestMemory(guest_store)
        assert memory.read(0, 4) == bytes(4)
        with pytest.raises(WasiError):
            memory.read(PAGE_BYTES, 4)
        assert guest_store.call("grow", 2) == 1
        place, _ = guest_store.locate_memory()
        assert memory.read(3 * PAGE_BYTES - 4, 4) == bytes(4)
        memory.write(PAGE_BYTES, b"left")
        memory.write(0, b"left")
        assert guest_store.locate_memory() == (place, 3 * PAGE_BYTES)
        assert guest_store.memory_at_start == PAGE_BYTES
        guest_store.close()


@pytest.mark.parametrize("linkage_class", [DirectLinkage, PublicLinkage])
def test_a_function_that_is_called_memory_is_none(toolchain, linkage_class):
    engine = toolchain.engine(Build())
    source = '(module (memory 1) (func (export "memory") (param v128)))'
    prepared = linkage_class(engine).prepare(wasmtime.Module(engine, source))
    guest_store = prepared.open(ALLOWANCE)
    guest_store.instantiate()
    assert (guest_store.locate_memory(), guest_store.memory_at_start) == ((0, 0), 0)
    guest_store.close()
    prepared.close()


def test_call_without_an_answer_returns_none(make_guest_store):
    assert make_guest_store().call("quiet") is None


def test_wrong_number_of_arguments_is_an_error(make_guest_store):
    with pytest.raises((TypeError, wasmtime.WasmtimeError)):
        make_guest_store().call("mix", 1)


def test_what_a_host_function_raises_ends_the_guest_and_the_next_call_works(make_guest_store):
    answers = iter([ValueError("no"), KeyboardInterrupt(), None])

    def quiet():
        answer = next(answers)
        if answer is not None:
            raise answer

    guest_store = make_guest_store(quiet=quiet)
    with pytest.raises(ValueError, match="no"):
        guest_store.call("quiet")
    with pytest.raises(KeyboardInterrupt):
        guest_store.call("quiet")
    assert guest_store.call("quiet") is None


def test_guests_side_by_side_have_memories_of_their_own(make_guest_store):
    outer, inner = make_guest_store(), make_guest_store()
    assert outer.locate_memory()[0] != inner.locate_memory()[0]
    assert outer.memory_at_start == inner.memory_at_start == 65_536


def test_closing_is_safe_to_repeat_and_costs_other_guests_nothing(make_guest_store):
    guest_store = make_guest_store()
    guest_store.close()
    guest_store.close()
    assert make_guest_store().call("mix", 1, 2, 3) == 3


def test_direct_linkage_is_chosen():
    assert choice.choose_linkage() is DirectLinkage


@pytest.mark.parametrize("linkage", [DirectLinkage, PublicLinkage])
def test_linkages_pass_their_check(linkage):
    choice.check_linkage(linkage)


def test_other_version_gets_the_public_linkage(monkeypatch):
    monkeypatch.setattr(capi, "WRITTEN_FOR", "1.2.3")
    with structlog.testing.capture_logs() as logs:
        assert choice.choose_linkage() is PublicLinkage
    assert "written for wasmtime 1.2.3" in logs[0]["reason"]


@pytest.mark.parametrize(
    ("name", "broken"),
    [("memory_size", lambda *_: 0), ("define", lambda *_: None), ("make_trap", lambda _: ValueError("nonsense"))],
)
def test_linkage_that_does_not_do_what_it_should_is_not_chosen(monkeypatch, name, broken):
    monkeypatch.setattr(capi, name, broken)
    with structlog.testing.capture_logs() as logs:
        assert choice.choose_linkage() is PublicLinkage
    assert len(logs) == 1


def test_installed_wasmtime_is_the_one_that_the_direct_linkage_is_for():
    choice.check_version(capi.WRITTEN_FOR)
