"""Blobs on disk."""

import errno
import hashlib
import os
import shutil
import threading

import pytest

from piecework.worker_agent import cache as cache_module
from piecework.worker_agent.cache import BlobCache, trim_folder
from piecework.worker_agent.errors import BrokenBlobError, CacheError


def checksum_of(data):
    return hashlib.sha256(data).hexdigest()


class Source:
    """Where blobs come from. Counts how often each was fetched."""

    def __init__(self):
        self.fetched = []

    def __call__(self, data):
        def fetch(path):
            self.fetched.append(data)
            path.write_bytes(data)

        return checksum_of(data), fetch


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def make_cache(tmp_path):
    return lambda capacity_bytes=100: BlobCache(tmp_path / "blobs", capacity_bytes=capacity_bytes)


@pytest.fixture
def files(tmp_path):
    """Return a function: the contents of all files in the cache's folder, sorted."""
    return lambda: sorted(path.read_bytes() for path in (tmp_path / "blobs").rglob("*") if path.is_file())


def test_blob_is_fetched_once(make_cache, source):
    cache = make_cache()
    first = cache.acquire(*source(b"code"))
    second = cache.acquire(*source(b"code"))
    assert first == second
    assert first.read_bytes() == b"code"
    assert source.fetched == [b"code"]
    assert cache.used_bytes == 4


def test_blobs_are_there_after_a_restart(make_cache, source):
    make_cache().acquire(*source(b"code"))
    cache = make_cache()
    assert cache.used_bytes == 4
    assert cache.acquire(*source(b"code")).read_bytes() == b"code"
    assert source.fetched == [b"code"]


def test_blob_used_longest_ago_gives_way(make_cache, source, files):
    cache = make_cache(capacity_bytes=20)
    for data in (b"a" * 10, b"b" * 10, b"a" * 10, b"c" * 10):
        checksum, fetch = source(data)
        cache.acquire(checksum, fetch)
        cache.release(checksum)
    assert files() == [b"a" * 10, b"c" * 10]
    assert cache.used_bytes == 20


def test_small_blobs_give_way_when_they_are_too_many(make_cache, source, files, monkeypatch):
    monkeypatch.setattr("piecework.worker_agent.cache.BLOBS_MAX", 2)
    cache = make_cache()
    for data in (b"a", b"b", b"a", b"c"):
        checksum, fetch = source(data)
        cache.acquire(checksum, fetch)
        cache.release(checksum)
    assert files() == [b"a", b"c"]


def test_order_of_use_survives_a_restart(make_cache, source, files, tmp_path):
    cache = make_cache(capacity_bytes=20)
    for age, data in ((1, b"a" * 10), (2, b"b" * 10)):
        checksum, fetch = source(data)
        os.utime(cache.acquire(checksum, fetch), (10**9 - age, 10**9 - age))
        cache.release(checksum)
    cache = make_cache(capacity_bytes=20)
    cache.acquire(*source(b"c" * 10))
    assert files() == [b"a" * 10, b"c" * 10]


def test_blob_in_use_stays_until_its_last_user_lets_go(make_cache, source, files):
    cache = make_cache(capacity_bytes=10)
    held, fetch = source(b"a" * 10)
    cache.acquire(held, fetch)
    cache.acquire(held, fetch)
    other, fetch = source(b"b" * 10)
    cache.acquire(other, fetch)
    cache.release(held)
    assert files() == [b"a" * 10, b"b" * 10]
    cache.release(held)
    assert files() == [b"b" * 10]


def test_blob_larger_than_the_cache_can_be_used(make_cache, source, files):
    cache = make_cache(capacity_bytes=10)
    checksum, fetch = source(b"a" * 50)
    assert cache.acquire(checksum, fetch).read_bytes() == b"a" * 50
    cache.release(checksum)
    assert files() == []


def test_wrong_bytes_are_refused_and_leave_nothing(make_cache, source, files):
    cache = make_cache()
    _, fetch = source(b"other")
    with pytest.raises(BrokenBlobError):
        cache.acquire(checksum_of(b"code"), fetch)
    assert files() == []
    assert cache.acquire(*source(b"code")).read_bytes() == b"code"


def test_failure_to_fetch_leaves_nothing_and_can_be_repeated(make_cache, source, files):
    cache = make_cache(capacity_bytes=1)

    def fail(path):
        path.write_bytes(b"half")
        raise ConnectionError("gone")

    checksum, fetch = source(b"code")
    with pytest.raises(ConnectionError):
        cache.acquire(checksum, fail)
    assert files() == []
    cache.acquire(checksum, fetch)
    cache.release(checksum)
    assert files() == []


def test_fetch_that_writes_nothing_is_a_cache_error(make_cache):
    with pytest.raises(CacheError, match="No such file"):
        make_cache().acquire(checksum_of(b"code"), lambda _path: None)


@pytest.mark.parametrize("checksum", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_what_is_no_checksum_never_becomes_a_path(make_cache, checksum):
    with pytest.raises(BrokenBlobError, match="not a SHA-256"):
        make_cache().acquire(checksum, lambda _path: pytest.fail("fetched"))


def test_one_of_many_fetches_and_the_others_wait(make_cache):
    cache, barrier, found, fetched = make_cache(), threading.Barrier(4), [], []

    def fetch(path):
        fetched.append(1)
        path.write_bytes(b"code")

    def acquire():
        barrier.wait()
        found.append(cache.acquire(checksum_of(b"code"), fetch))

    threads = [threading.Thread(target=acquire) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(fetched)) == (4, 1)


def test_file_that_someone_removed_is_fetched_again(make_cache, source):
    cache = make_cache()
    cache.acquire(*source(b"code")).unlink()
    assert cache.acquire(*source(b"code")).read_bytes() == b"code"
    assert cache.used_bytes == 4
    assert source.fetched == [b"code", b"code"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("damage", [b"", b"c", b"CODE"], ids=["emptied", "cut off", "changed"])
def test_file_that_was_damaged_is_fetched_again(make_cache, source, damage, restart):
    cache = make_cache()
    checksum, fetch = source(b"code")
    path = cache.acquire(checksum, fetch)
    assert cache.is_intact(checksum)
    path.write_bytes(damage)
    os.utime(path, (1, 1))
    assert not cache.is_intact(checksum)
    cache = make_cache() if restart else cache
    assert cache.acquire(checksum, fetch).read_bytes() == b"code"
    assert (cache.used_bytes, cache.is_intact(checksum)) == (4, True)
    assert source.fetched == [b"code", b"code"]


def test_file_that_was_touched_is_looked_at_and_kept(make_cache, source):
    cache = make_cache()
    checksum, fetch = source(b"code")
    os.utime(cache.acquire(checksum, fetch), (1, 1))
    assert cache.acquire(checksum, fetch).read_bytes() == b"code"
    assert source.fetched == [b"code"]


def test_folder_that_somebody_removed_is_made_again(make_cache, source, tmp_path):
    cache = make_cache()
    cache.acquire(*source(b"code"))
    shutil.rmtree(tmp_path / "blobs")
    assert cache.acquire(*source(b"code")).read_bytes() == b"code"


def test_leftovers_of_a_crash_are_removed(make_cache, tmp_path):
    make_cache()
    (tmp_path / "blobs" / "incoming" / "half").write_bytes(b"half")
    (tmp_path / "blobs" / "notes.txt").write_bytes(b"not ours")
    make_cache()
    assert sorted(path.name for path in (tmp_path / "blobs").iterdir()) == ["incoming", "notes.txt"]
    assert list((tmp_path / "blobs" / "incoming").iterdir()) == []


def test_folder_that_cannot_be_used_is_a_cache_error(tmp_path):
    (tmp_path / "blobs").write_bytes(b"in the way")
    with pytest.raises(CacheError, match="cannot be used"):
        BlobCache(tmp_path / "blobs", capacity_bytes=1)


def test_folder_is_trimmed_from_the_oldest(tmp_path):
    for age, name in enumerate(["new", "deep/middle", "old"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 10)
        os.utime(path, (10**9 - age, 10**9 - age))
    trim_folder(tmp_path, 25)
    assert not (tmp_path / "old").exists()
    trim_folder(tmp_path, 10)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["new"]


class SmallDisk:
    """A disk that takes so many bytes in a folder, and then fails."""

    def __init__(self, folder, total, number=errno.ENOSPC):
        self.folder, self.total, self.number = folder, total, number
        self.tries = 0

    def used(self):
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def usage(self, _folder):
        return self.total, self.used(), self.total - self.used()

    def fetching(self, data):
        """Return the arguments of ``acquire`` for a blob that is written to this disk."""

        def fetch(path):
            self.tries += 1
            path.write_bytes(data[: self.total - self.used()])
            if path.stat().st_size < len(data):
                raise OSError(self.number, os.strerror(self.number))

        return checksum_of(data), fetch


@pytest.fixture
def make_small(tmp_path):
    """Return a function: a small disk and a cache on it that is told of its size, or not."""

    def make(total, *, known, number=errno.ENOSPC):
        disk = SmallDisk(tmp_path / "blobs", total, number)
        find_free = disk.usage if known else lambda _folder: (0, 0, 10**9)
        return disk, BlobCache(tmp_path / "blobs", capacity_bytes=10**9, find_free=find_free)

    return make


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_on_a_full_disk_others_give_way(make_small, files, monkeypatch, number):
    monkeypatch.setattr(cache_module, "STEP_BYTES", 10)
    disk, cache = make_small(100, known=False, number=number)
    for letter in b"abcd":
        checksum, fetch = disk.fetching(bytes([letter]) * 40)
        assert cache.acquire(checksum, fetch).read_bytes() == bytes([letter]) * 40
        cache.release(checksum)
    assert files() == [b"c" * 40, b"d" * 40]
    assert disk.tries == 6, "the third and the fourth twice"


def test_inputs_give_way_before_code(make_small, files, monkeypatch):
    monkeypatch.setattr(cache_module, "STEP_BYTES", 10)
    disk, cache = make_small(100, known=False)
    for data, lasting in ((b"c" * 40, True), (b"i" * 40, False), (b"j" * 40, False)):
        checksum, fetch = disk.fetching(data)
        cache.acquire(checksum, fetch, lasting=lasting)
        cache.release(checksum)
    assert files() == [b"c" * 40, b"j" * 40]


def test_room_is_left_on_the_disk(make_small, files):
    disk, cache = make_small(800, known=True)
    for letter in b"abcdefghijk":
        checksum, fetch = disk.fetching(bytes([letter]) * 100)
        cache.acquire(checksum, fetch, size_bytes=100)
        cache.release(checksum)
    assert len(files()) == 7, "an eighth of a small disk is for others"
    assert disk.tries == 11, "nothing was tried in vain"


def test_full_disk_on_which_nothing_can_give_way_is_a_cache_error(make_small, files):
    disk, cache = make_small(100, known=False)
    cache.acquire(*disk.fetching(b"a" * 80))
    with pytest.raises(CacheError, match=r"cannot be stored: No space left on device"):
        cache.acquire(*disk.fetching(b"b" * 80))
    assert files() == [b"a" * 80]


def test_probe_leaves_nothing_behind(make_cache, files):
    make_cache().probe()
    assert files() == []


def test_probe_says_that_nothing_can_be_written(make_cache, tmp_path):
    cache = make_cache()
    (tmp_path / "blobs" / "incoming").rmdir()
    with pytest.raises(OSError, match="No such file"):
        cache.probe()


def test_room_for_blobs_is_what_the_disk_and_the_capacity_allow(make_small, tmp_path):
    _, cache = make_small(800, known=True)
    assert cache.find_room_bytes() == 700
    usage = lambda _folder: (10**6, 0, 10**6)  # noqa: E731
    assert BlobCache(tmp_path / "other", capacity_bytes=50, find_free=usage).find_room_bytes() == 50
