"""Which programs a process keeps, and how ``default`` chooses."""

import pytest

from piecework.protocol.messages import Limits
from piecework.worker_agent.runtimes import RUNTIME_NAMES
from piecework.worker_agent.runtimes.base import Bounds, Build, CodeFile, LoadError
from piecework.worker_agent.runtimes.compiling.library import Library


@pytest.fixture
def library(toolchain):
    library = Library(toolchain, capacity=2)
    yield library
    library.close()


@pytest.fixture
def codes(store_code, build_text):
    sources = [f'(module (func (export "_start")) (func (export "f{number}")))' for number in range(3)]
    return [CodeFile(*store_code(build_text(source))) for source in sources]


def test_program_is_loaded_once(library, codes):
    program = library.load("wasi", codes[0], Build())
    assert library.find("wasi", codes[0].checksum, Build()) is program
    assert library.find("wasi", codes[0].checksum, Build(metered=True)) is None
    assert library.find("default", codes[0].checksum, Build()) is None


def test_program_used_longest_ago_gives_way(library, codes):
    for code in codes[:2]:
        library.load("wasi", code, Build())
    library.find("wasi", codes[0].checksum, Build())
    library.load("wasi", codes[2], Build())
    kept = [library.find("wasi", code.checksum, Build()) is not None for code in codes]
    assert kept == [True, False, True]


def test_features_do_not_change_the_runtime(library, codes):
    assert library.load("wasi+gpu+fast", codes[0], Build()) is not None


def test_unknown_runtime_is_refused_with_those_there_are(library, codes):
    with pytest.raises(LoadError, match=r"'cobol'.*default, capsule, funless, component, wasi"):
        library.load("cobol", codes[0], Build())


def test_default_tells_what_it_saw_when_nothing_fits(library, store_code, build_text):
    code = CodeFile(*store_code(build_text('(module (func (export "spin")) (func (export "dance")))')))
    with pytest.raises(LoadError, match=r"no runtime .* exports dance, spin"):
        library.load("default", code, Build())


def test_names_offered_to_a_server():
    assert RUNTIME_NAMES == ("default", "capsule", "funless", "component", "wasi")


def test_bounds_fall_back_to_defaults():
    bounds = Bounds.of(Limits(timeout_s=2.5, fuel=7))
    assert bounds == Bounds(timeout_s=2.5, fuel=7)
    assert Bounds.of(Limits()) == Bounds()


@pytest.mark.parametrize(
    ("fuel", "deterministic", "build"),
    [
        (None, False, Build()),
        (5, False, Build(metered=True)),
        (None, True, Build(metered=True, deterministic=True)),
    ],
)
def test_build_is_the_cheapest_that_does(fuel, deterministic, build):
    assert Build.fitting(Bounds(fuel=fuel), deterministic=deterministic) == build
