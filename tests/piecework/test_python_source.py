"""What goes along with a Python function, and what keeps one from running elsewhere."""

import functools
import json
import json as js
import math
from datetime import date
from pathlib import Path

import pytest

import piecework
from piecework import CannotCarry
from piecework.python_source import carry

FACTOR = 3
NAMES = ("a", ("b", 2.5), None, True, b"x")
TABLE: dict = {}
LOOSE = {"a": 1}


def is_ours(found):
    return found is piecework.function


def run(function, *args):
    """Run what a function is carried as, with nothing else around it."""
    space: dict = {}
    exec(carry(function, is_ours).write(), space)
    return space[function.__name__](*args)


def double(number):
    return number * 2


def times(number):
    return double(number) * FACTOR


def ping(depth):
    return depth and pong(depth - 1)


def pong(depth):
    return depth and ping(depth - 1)


def annotated(path: Path, *, day: date = date(2020, 1, 2)) -> list[Path]:
    return [path, str(day)]


def nested(values):
    scale = FACTOR

    def inner(value):
        return js.dumps(value * scale) + json.dumps(math.pi)

    return [inner(each) for each in values]


def test_functions_take_along_what_they_use():
    assert run(times, 2) == 12
    assert run(nested, [1]) == ["33.141592653589793"]
    assert run(ping, 3) == 0
    assert run(lambda_names) == NAMES
    assert "annotations" not in carry(times, is_ours).write()


def lambda_names():
    return NAMES


def test_a_function_is_carried_the_same_whatever_is_around_it():
    first = carry(times, is_ours).write()
    assert first == carry(times, is_ours).write()
    assert first.index("FACTOR = 3") < first.index("def times") < first.index("def double")


@piecework.function
def decorated(value):
    """Say it twice."""
    return value * 2


def test_a_decorated_function_stays_itself():
    assert (decorated("a"), decorated.name, decorated.__doc__) == ("aa", "decorated", "Say it twice.")
    assert "@" not in decorated.source
    assert repr(decorated) == "PythonLambda(decorated, runtime='python3.12')"


def uses_loose():
    return LOOSE["a"]


def uses_package(x):
    return pytest.approx(x)


def uses_nothing_known():
    return nowhere  # type: ignore[name-defined]  # noqa: F821


def yields():
    yield 1


async def waits():
    return 1


@functools.cache
def kept():
    return 1


def uses_kept():
    return kept()


def make_closure():
    secret = 7

    def closure():
        return secret

    return closure


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (uses_loose, "uses the global LOOSE, a dict, which cannot go along: pass it as an argument"),
        (uses_package, "uses pytest of pytest, which is not in Python's standard library"),
        (uses_nothing_known, "uses nowhere, which is nowhere defined"),
        (yields, "yields is a generator: return a list"),
        (waits, "waits is a coroutine"),
        (uses_kept, "kept"),
        (make_closure(), "uses secret of the function around it"),
        (lambda: 1, "no function that was written with def|cannot be read"),
        (len, "no function that was written with def"),
        (functools.partial(double, 1), "no function that was written with def"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", "partial"),
)
def test_what_cannot_go_along_is_told(function, message):
    with pytest.raises(CannotCarry, match=message):
        carry(function, is_ours)


def test_other_decorators_are_told():
    def plain():
        return 1

    wrapped = functools.wraps(plain)(lambda: 2)
    with pytest.raises(CannotCarry, match="stands around another function"):
        carry(wrapped, is_ours)
    with pytest.raises(CannotCarry, match=r"has the decorator @pytest\.mark\.parametrize"):
        carry(test_what_cannot_go_along_is_told, is_ours)


def test_bad_runtimes_and_arguments_are_told_at_once():
    with pytest.raises(ValueError, match="runs no Python"):
        piecework.function(runtime="lua")(double)
    with pytest.raises(TypeError, match="missing a required argument"):
        decorated.submit()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="arguments of decorated travel as JSON"):
        decorated.submit({1, 2})
