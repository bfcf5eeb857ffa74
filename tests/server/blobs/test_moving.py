"""Large blobs move from one kind of store to another, and are found all the time."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Union

import pytest
from blob_places import DirectoryPlace

from piecework.server.blobs import BlobsMoved, BlobStore, move_blobs, open_store
from piecework.server.blobs.two_places import TwoPlaces
from piecework.server.errors import BlobNotFound
from piecework.server.settings import Settings

CONTENTS = [bytes([number]) * (1000 + number) for number in range(9)]
DAY_S = 86400.0


def put(store: BlobStore, content: bytes) -> bytes:
    with store.receive(0) as writer:
        writer.write(content)
        return writer.finish().sha256


def get(store: BlobStore, sha256: bytes) -> bytes:
    with store.open(sha256) as reader, store.view(sha256) as view:
        content = reader.read()
        assert view[:] == content
        assert store.find_size(sha256) == len(content)
        return content


if TYPE_CHECKING:
    from s3_place import S3Place

Place = Union[DirectoryPlace, "S3Place"]
Pair = tuple[Place, Place]


@pytest.fixture(
    params=["directories", *(pytest.param(way, marks=pytest.mark.integration) for way in ("to S3", "from S3"))]
)
def places(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Where blobs are, and where they shall be."""
    first = DirectoryPlace(tmp_path / "first", monkeypatch)
    if request.param == "directories":
        return first, DirectoryPlace(tmp_path / "second", monkeypatch)
    from s3_place import S3Place

    second = S3Place(request.getfixturevalue("s3_server"), tmp_path / "incoming", monkeypatch)
    return (first, second) if request.param == "to S3" else (second, first)


@pytest.fixture
def stores(places: Pair) -> tuple[BlobStore, BlobStore]:
    return places[0].open(), places[1].open()


def test_all_blobs_move_and_each_is_there_once(places: Pair, stores: tuple[BlobStore, BlobStore]):
    source, target = stores
    digests = [put(source, content) for content in CONTENTS]
    put(target, CONTENTS[0])
    moved = move_blobs(source, target, keep=False)
    assert moved == BlobsMoved(len(CONTENTS) - 1, sum(map(len, CONTENTS[1:])), 1, [])
    assert [get(target, digest) for digest in digests] == CONTENTS
    assert (places[0].count(), places[1].count()) == (0, len(CONTENTS))
    assert move_blobs(source, target, keep=False) == BlobsMoved()


def test_blobs_may_stay_where_they_were(places: Pair, stores: tuple[BlobStore, BlobStore]):
    source, target = stores
    digests = [put(source, content) for content in CONTENTS]
    assert move_blobs(source, target, keep=True).blobs == len(CONTENTS)
    for store in stores:
        assert [get(store, digest) for digest in digests] == CONTENTS


def test_a_damaged_blob_stays_and_is_told(places: Pair, stores: tuple[BlobStore, BlobStore]):
    source, target = stores
    whole, damaged = put(source, CONTENTS[0]), put(source, CONTENTS[1])
    places[0].damage(damaged)
    moved = move_blobs(source, target, keep=False)
    assert (moved.blobs, moved.damaged) == (1, [damaged.hex()])
    assert (target.find_size(whole), target.find_size(damaged)) == (len(CONTENTS[0]), None)
    assert source.find_size(damaged) is not None


def test_blobs_are_found_all_the_time_while_they_move(places: Pair, stores: tuple[BlobStore, BlobStore]):
    both = TwoPlaces(places[1].open(), places[0].open())
    digests = [put(stores[0], content) for content in CONTENTS]
    over = threading.Event()

    def read() -> Iterator[bytes]:
        rounds = 0
        while not over.is_set() or not rounds:
            rounds += 1
            yield from (get(both, digest) for digest in digests)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: set(read()))
        try:
            assert move_blobs(*stores, keep=False).blobs == len(CONTENTS)
        finally:
            over.set()
        assert reading.result() == set(CONTENTS)


def test_two_places_are_one_store(places: Pair, stores: tuple[BlobStore, BlobStore]):
    before, now = stores
    both = TwoPlaces(now, before)
    old, new = put(before, CONTENTS[0]), put(both, CONTENTS[1])
    assert (before.find_size(new), now.find_size(old)) == (None, None)
    assert sorted(both.walk()) == sorted([old, new])
    assert [get(both, digest) for digest in (old, new)] == CONTENTS[:2]
    both.check_space()
    both.try_out()
    for missing in (both.open, both.view):
        with pytest.raises(BlobNotFound), missing(bytes(32)):
            pass
    assert both.find_size(bytes(32)) is None
    for place in places:
        place.age(DAY_S)
    assert both.remove(old, DAY_S, lambda _: False)
    assert both.sweep(DAY_S, lambda _: False) == 1
    assert [place.count() for place in places] == [0, 0]


@pytest.mark.integration
def test_settings_choose_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert str(open_store(Settings(data=tmp_path))) == f"the directory {tmp_path}/blobs"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    both = open_store(Settings(data=tmp_path, blobs="s3://bucket/a/b/", blobs_from="directory"))
    assert str(both) == f"s3://bucket/a/b, and the directory {tmp_path}/blobs"
