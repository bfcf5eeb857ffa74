"""The drill of damaged inputs finds what it is for, and makes the same inputs again."""

from random import Random
from threading import Event

import oracle
import pytest
from damaging import damage_json, damage_msgpack
from door_requests import Asked, Doors
from doors import feed
from evidence import DrillError
from oracle import Reader, judge


def read_length(data: bytes) -> int:
    if len(data) < 2:
        raise ValueError("too short")
    return len(data) // data[0]


def make_short(noise: Random) -> bytes:
    return noise.randbytes(noise.randrange(1, 4)).replace(b"\x07", b"\0")


@pytest.mark.slow
def test_reader_that_raises_something_else_is_found():
    readers = [Reader("sound", make_short, len), Reader("lengths", make_short, read_length, (ValueError,))]
    with pytest.raises(DrillError, match=r"the seed 5, .*\nlengths: ZeroDivisionError: .*: b'"):
        feed(readers, seconds=0.05, seed=5)


def test_refusal_that_is_documented_is_none():
    assert judge(Reader("lengths", make_short, read_length, (ValueError,)), b"x") == (False, "")
    assert judge(Reader("lengths", make_short, read_length, (ValueError,)), b"xx") == (True, "")


def test_reader_that_hangs_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(oracle, "PATIENCE_S", 0.02)
    _, fault = judge(Reader("waits", make_short, lambda _: Event().wait(60)), b"x")
    assert fault.startswith("waits: HangError")


def test_reader_that_is_slow_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(oracle, "CPU_MAX_S", 0.0)
    assert "of CPU time: b'x'" in judge(Reader("slow", make_short, len), b"x")[1]


def test_reader_that_eats_memory_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(oracle, "_most_memory", iter((0, 2 * oracle.GROWTH_MAX_BYTES)).__next__)
    assert "MiB of memory: b'x'" in judge(Reader("greedy", make_short, len), b"x")[1]


def test_answer_of_500_is_found(tmp_path, monkeypatch: pytest.MonkeyPatch):
    doors = Doors(tmp_path)
    try:
        asked = Asked("GET", b"/ping", b"", [(b"host", b"127.0.0.1:8000")], b"")
        assert judge(doors.reader, asked) == (True, "")
        assert judge(doors.reader, asked._replace(path=b"/nowhere")) == (False, "")
        monkeypatch.setitem(doors._house.app.view_functions, "GET /ping", lambda: 1 // 0)
        assert judge(doors.reader, asked)[1].startswith("requests: Failed: GET was answered with 500")
    finally:
        doors.close()


def test_same_seed_makes_same_inputs(tmp_path):
    sound = {"id": "1", "args": ["a", {"b": 2}], "timeout": 1.5}
    for damage in (damage_json, damage_msgpack):
        first, again, other = ([damage(noise, sound) for _ in range(50)] for noise in map(Random, (1, 1, 2)))
        assert first == again != other
    doors = Doors(tmp_path)
    try:
        assert doors.make(Random(3)) == doors.make(Random(3))
    finally:
        doors.close()
