"""What servers announce to each other."""

import pytest

from piecework.server.store.engine.hints import LONGEST, NOTHING, Hint, read_hint, write_hint


@pytest.mark.parametrize("enqueued", [NOTHING, {1: 5}, {1: 5, 2**62: 64}])
def test_a_hint_tells_how_many_jobs_are_in_which_lane(enqueued: dict[int, int]):
    assert read_hint(write_hint("a1", enqueued)) == Hint("a1", dict(enqueued))


def test_so_many_lanes_that_no_hint_has_them_are_any():
    text = write_hint("a1", {2**60 + lane: 1 for lane in range(1000)})
    assert len(text) <= LONGEST
    assert read_hint(text) == Hint("a1", None)


@pytest.mark.parametrize("text", ["a1", "a1 ?", "a1 1", "a1 1:x", "a1 1:2:3"])
def test_what_another_version_wrote_is_of_any_lane(text: str):
    assert read_hint(text) == Hint("a1", None)
