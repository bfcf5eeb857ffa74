"""Bodies of requests that come as they should not."""

import asyncio

import pytest

from piecework.worker_agent.serving.bodies import AT_ONCE, Bodies, BodyError

LIMIT = 1000
SILENCE = object()


class Way:
    """A request, and the way to its body: pieces, and what is raised or waited for after them."""

    def __init__(self, *pieces, end=None, **headers):
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pieces = pieces
        self.end = end

    async def __aiter__(self):
        for piece in self.pieces:
            yield piece
        if isinstance(self.end, Exception):
            raise self.end
        if self.end is SILENCE:
            await asyncio.Event().wait()


def read(bodies, way):
    return asyncio.run(bodies.read(way, way))


def refusal(bodies, way):
    with pytest.raises(BodyError) as caught:
        read(bodies, way)
    return caught.value.status


def test_body_is_returned_whole():
    assert read(Bodies(LIMIT), Way(b"ab", b"c", content_length="3")) == b"abc"
    assert read(Bodies(LIMIT), Way(b"a" * LIMIT, transfer_encoding="chunked")) == b"a" * LIMIT
    assert read(Bodies(LIMIT), Way()) == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "status"),
    [
        (Way(content_length=str(10**9)), 413),
        (Way(content_length=str(LIMIT + 1), expect="100-continue"), 413),
        (Way(b"a" * (LIMIT + 1), transfer_encoding="chunked"), 413),
        (Way(b"a", content_length="3"), 400),
        (Way(b"a", content_length="3", end=ConnectionResetError()), 400),
        (Way(b"a", content_length="3", end=SILENCE), 408),
    ],
)
def test_body_that_does_not_come_is_refused_and_not_held(way, status):
    bodies = Bodies(LIMIT, wait_s=0.01)
    for _ in range(2 * AT_ONCE):
        assert refusal(bodies, way) == status
    assert read(bodies, Way(b"a" * LIMIT, content_length=str(LIMIT))) == b"a" * LIMIT


def test_bodies_together_have_a_limit_until_they_are_let_go():
    bodies, large = Bodies(LIMIT), Way(b"a" * LIMIT, content_length=str(LIMIT))
    held = [read(bodies, large) for _ in range(AT_ONCE)]
    assert refusal(bodies, large) == 503
    assert refusal(bodies, Way(b"a", content_length="1")) == 503
    bodies.let_go(held.pop())
    assert read(bodies, large) == b"a" * LIMIT
