"""What every store of large blobs promises, asked of each through its interface alone."""

import hashlib
import threading
import tracemalloc
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Union

import pytest
from blob_places import DirectoryPlace
from patience import LONG_S

from piecework.server.blobs import BlobStore, Received
from piecework.server.errors import BlobNotFound, BlobsAway, BodyTooLarge, StorageFull

if TYPE_CHECKING:
    from s3_place import S3Place

Place = Union[DirectoryPlace, "S3Place"]
PLACES = ["directory", pytest.param("s3", marks=pytest.mark.integration)]
"""Every kind of store, by the place that it keeps its bytes in."""
HOUR_S = 3600.0
MB = 1 << 20
CONTENT = bytes(range(256)) * 40


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    root = tmp_path / "blobs"
    if request.param == "s3":
        from s3_place import S3Place

        return S3Place(request.getfixturevalue("s3_server"), root, monkeypatch)
    return DirectoryPlace(root, monkeypatch)


@pytest.fixture
def store(place: Place) -> BlobStore:
    return place.open()


def put(store: BlobStore, content: bytes = CONTENT, *, keep: int = 0, piece: int = 1000) -> Received:
    with store.receive(keep) as writer:
        for start in range(0, len(content), piece):
            writer.write(content[start : start + piece])
        return writer.finish()


def get(store: BlobStore, sha256: bytes, begin: int = 0, end: int | None = None) -> bytes:
    with store.open(sha256, begin, end) as reader:
        return reader.read()


def digest_of(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def zeros(count: int) -> Iterable[bytes]:
    return (bytes(64 * 1024) for _ in range(count * MB // (64 * 1024)))


@contextmanager
def memory_below(limit_bytes: int) -> Iterator[None]:
    """Fail when the block had more of Python's memory at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit_bytes


# --- Taking bytes in ---


@pytest.mark.parametrize("piece", [1, 999, 1 << 20])
@pytest.mark.parametrize("size", [1, 1000, len(CONTENT)])
def test_what_goes_in_comes_out_under_the_digest_of_its_content(store: BlobStore, size: int, piece: int):
    content = CONTENT[:size]
    received = put(store, content, piece=piece)
    assert received == Received(digest_of(content), size, None)
    assert get(store, received.sha256) == content
    assert store.find_size(received.sha256) == size


@pytest.mark.parametrize("size", [0, 1, 100])
def test_what_may_stay_in_memory_is_given_back_and_not_stored(place: Place, store: BlobStore, size: int):
    content = CONTENT[:size]
    assert put(store, content, keep=100, piece=7) == Received(digest_of(content), size, content)
    assert (store.find_size(digest_of(content)), place.count()) == (None, 0)


def test_one_byte_more_than_may_stay_in_memory_is_stored(store: BlobStore):
    received = put(store, CONTENT[:101], keep=100, piece=7)
    assert (received.content, get(store, received.sha256)) == (None, CONTENT[:101])


def test_a_blob_is_not_there_before_it_is_finished(store: BlobStore):
    with store.receive(0) as writer:
        writer.write(CONTENT)
        assert store.find_size(digest_of(CONTENT)) is None
        with pytest.raises(BlobNotFound):
            store.open(digest_of(CONTENT))
        writer.finish()
        assert get(store, digest_of(CONTENT)) == CONTENT


def test_finishing_again_changes_nothing(place: Place, store: BlobStore):
    with store.receive(0) as writer:
        writer.write(CONTENT)
        assert writer.finish() == writer.finish()
    assert (get(store, digest_of(CONTENT)), place.count()) == (CONTENT, 1)


def test_bytes_are_safe_before_they_have_a_name(place: Place, store: BlobStore):
    found: list[int | None] = []
    with store.receive(0) as writer:
        writer.write(CONTENT)
        with place.at_each_flush(lambda: found.append(store.find_size(digest_of(CONTENT)))):
            writer.finish()
    assert found[0] is None
    assert len(found) > 1, "the name must be safe, too"


def test_bytes_that_could_not_be_made_safe_get_no_name_and_leave_nothing(place: Place, store: BlobStore):
    def fail() -> None:
        raise OSError(5, "Input/output error")

    with place.at_each_flush(fail), pytest.raises(OSError, match="Input/output"):
        put(store)
    assert (store.find_size(digest_of(CONTENT)), place.count()) == (None, 0)
    assert get(store, put(store).sha256) == CONTENT


def test_another_server_finds_what_one_received(place: Place):
    received = put(place.open())
    assert get(place.open(), received.sha256) == CONTENT


@pytest.mark.parametrize("keep", [0, 1 << 30])
def test_a_blob_of_the_limit_is_taken_and_one_byte_more_is_refused_at_once(place: Place, keep: int):
    store = place.open(limit_bytes=1000)
    assert put(store, CONTENT[:1000], keep=keep).size == 1000
    before = place.count()
    with store.receive(keep) as writer:
        writer.write(CONTENT[1000:2000])
        with pytest.raises(BodyTooLarge, match="1000 bytes"):
            writer.write(b"!")
    assert place.count() == before


def test_a_blob_above_the_limit_costs_no_more_memory_than_the_limit(place: Place):
    store = place.open(limit_bytes=MB)
    with memory_below(3 * MB), store.receive(1 << 30) as writer, pytest.raises(BodyTooLarge):
        deque(map(writer.write, zeros(64)), maxlen=0)


def test_a_large_blob_is_never_in_memory_as_a_whole(store: BlobStore):
    with memory_below(4 * MB):
        with store.receive(32 * 1024) as writer:
            for piece in zeros(32):
                writer.write(piece)
            received = writer.finish()
        with store.open(received.sha256) as reader:
            assert sum(map(len, reader)) == 32 * MB
        with store.view(received.sha256) as view:
            assert (len(view), view[31 * MB : 31 * MB + 3]) == (32 * MB, bytes(3))


@pytest.mark.parametrize("size", [10, len(CONTENT)])
def test_an_upload_that_breaks_off_leaves_nothing(place: Place, store: BlobStore, size: int):
    def broken() -> Iterator[bytes]:
        yield CONTENT[:size]
        raise ConnectionError

    with pytest.raises(ConnectionError), store.receive(100) as writer:
        deque(map(writer.write, broken()), maxlen=0)
    with store.receive(100) as writer:
        writer.write(CONTENT[:size])  # and is not finished
    assert (store.find_size(digest_of(CONTENT[:size])), place.count()) == (None, 0)


def test_the_same_content_comes_several_times_at_once_and_is_there_once(place: Place):
    stores = [place.open() for _ in range(4)]
    together = threading.Barrier(len(stores))

    def receive(store: BlobStore) -> Received:
        with store.receive(0) as writer:
            writer.write(CONTENT)
            together.wait(LONG_S)
            return writer.finish()

    with ThreadPoolExecutor(len(stores)) as pool:
        found = set(pool.map(receive, stores))
    assert found == {Received(digest_of(CONTENT), len(CONTENT), None)}
    assert (get(stores[0], digest_of(CONTENT)), place.count()) == (CONTENT, 1)


def test_different_contents_come_at_once(place: Place, store: BlobStore):
    contents = [CONTENT[number:] for number in range(16)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda content: put(store, content), contents))
    assert [get(store, each.sha256) for each in found] == contents
    assert place.count() == len(contents)


# --- Giving bytes out ---


def test_all_digests_are_told_and_nothing_else(place: Place, store: BlobStore):
    contents = [CONTENT[number:] for number in range(3)]
    for content in contents:
        put(store, content)
    place.die_in_upload()
    assert sorted(store.walk()) == sorted(map(digest_of, contents))


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (0, None),
        (0, 0),
        (0, 1),
        (1, 2),
        (5, 5),
        (100, 10_000),
        (10_239, None),
        (10_240, None),
        (3, 99_999),
        (99_999, None),
    ],
)
def test_a_part_is_what_a_slice_is(store: BlobStore, begin: int, end: int | None):
    received = put(store)
    assert get(store, received.sha256, begin, end) == CONTENT[begin:end]
    with store.open(received.sha256, begin, end) as reader:
        assert b"".join(reader) == CONTENT[begin:end]
        assert reader.size == len(CONTENT)


def test_who_reads_gets_as_much_as_asked_for_until_the_end(store: BlobStore):
    with store.open(put(store).sha256, 10, 30) as reader:
        assert [reader.read(size) for size in (8, 8, 8, 8)] == [
            CONTENT[10:18],
            CONTENT[18:26],
            CONTENT[26:30],
            b"",
        ]


def test_a_view_can_be_sliced_and_searched(store: BlobStore):
    with store.view(put(store).sha256) as view:
        assert (len(view), view[7:11], view.find(b"\x05\x06")) == (len(CONTENT), CONTENT[7:11], 5)


def test_what_is_not_there_is_not_found(place: Place, store: BlobStore):
    sha256 = put(store).sha256
    place.lose(sha256)
    assert store.find_size(sha256) is None
    with pytest.raises(BlobNotFound):
        store.open(sha256)
    with pytest.raises(BlobNotFound), store.view(sha256):
        pass
    put(store)
    assert get(store, sha256) == CONTENT


def test_a_reader_is_closed_as_often_as_one_likes(store: BlobStore):
    sha256 = put(store).sha256
    reader = store.open(sha256)
    reader.close()
    reader.close()
    assert get(store, sha256) == CONTENT


def test_a_reader_goes_on_when_the_blob_comes_again_and_when_it_is_removed(place: Place, store: BlobStore):
    with store.open(put(store).sha256) as reader:
        start = reader.read(100)
        put(store)
        middle = reader.read(100)
        place.age(HOUR_S)
        assert store.sweep(HOUR_S, lambda _: False) == 1
        assert start + middle + reader.read() == CONTENT


# --- Sweeping ---


def test_a_sweep_removes_what_is_old_and_not_needed(place: Place, store: BlobStore):
    needed, other = put(store), put(store, CONTENT[1:])
    place.age(HOUR_S)
    young = put(store, CONTENT[2:])
    asked: list[bytes] = []

    def is_needed(sha256: bytes) -> bool:
        asked.append(sha256)
        return sha256 == needed.sha256

    assert store.sweep(HOUR_S, is_needed) == 1
    assert sorted(asked) == sorted([needed.sha256, other.sha256]), "nobody is asked about what is young"
    sizes = [store.find_size(each.sha256) for each in (needed, other, young)]
    assert sizes == [needed.size, None, young.size]
    assert place.count() == 2


def test_a_sweep_removes_what_a_server_left_that_died_in_an_upload(place: Place, store: BlobStore):
    place.die_in_upload()
    assert store.sweep(HOUR_S, lambda _: False) == 0
    place.age(HOUR_S)
    assert store.sweep(HOUR_S, lambda _: True) == 1
    assert place.count() == 0


def test_a_blob_that_comes_again_while_the_sweep_decides_stays(place: Place, store: BlobStore):
    sha256 = put(store).sha256
    place.age(HOUR_S)

    def is_needed(_: bytes) -> bool:
        put(store)  # its row comes a moment after it
        return False

    assert store.sweep(HOUR_S, is_needed) == 0
    assert (get(store, sha256), place.count()) == (CONTENT, 1)


def test_one_blob_is_removed_when_it_is_old_and_not_needed(place: Place, store: BlobStore):
    needed, other = put(store), put(store, CONTENT[1:])
    assert not store.remove(other.sha256, HOUR_S, lambda _: False), "it is young"
    place.age(HOUR_S)
    assert not store.remove(needed.sha256, HOUR_S, lambda sha256: sha256 == needed.sha256)
    assert store.remove(other.sha256, HOUR_S, lambda sha256: sha256 == needed.sha256)
    assert not store.remove(other.sha256, HOUR_S, lambda _: False), "it is gone"
    assert (get(store, needed.sha256), place.count()) == (CONTENT, 1)


def test_a_blob_that_comes_again_while_its_removal_is_decided_stays(place: Place, store: BlobStore):
    sha256 = put(store).sha256
    place.age(HOUR_S)
    assert not store.remove(sha256, HOUR_S, lambda _: bool(put(store)) and False)
    assert (get(store, sha256), place.count()) == (CONTENT, 1)


def test_two_servers_sweep_at_once_and_what_goes_is_counted_once(place: Place, store: BlobStore):
    put(store)
    place.age(HOUR_S)
    counts: list[int] = []

    def is_needed(_: bytes) -> bool:
        counts.append(place.open().sweep(HOUR_S, lambda _: False))
        return False

    counts.append(store.sweep(HOUR_S, is_needed))
    assert (counts, place.count()) == ([1, 0], 0)


# --- Room ---


@pytest.mark.parametrize("size", [10, 3 * MB])
def test_a_full_disk_is_told_and_nothing_is_left(place: Place, store: BlobStore, size: int):
    content = bytes(size)
    with place.full():
        with pytest.raises(StorageFull):
            put(store, content, piece=MB)
        with pytest.raises(StorageFull):
            store.try_out()
    assert (store.find_size(digest_of(content)), place.count()) == (None, 0)
    assert get(store, put(store, content, piece=MB).sha256) == content


def test_trying_out_leaves_nothing(place: Place, store: BlobStore):
    store.try_out()
    store.check_space()
    assert place.count() == 0


def test_a_place_that_takes_nothing_is_told(place: Place, store: BlobStore):
    with (
        place.unwritable(),
        pytest.raises((StorageFull, BlobsAway), match=r"cannot be written to|needs rights to"),
    ):
        store.try_out()
    store.try_out()
