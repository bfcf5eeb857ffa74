"""Which blobs are held in the cache, and for how long."""

import threading

import pytest
from fake_control_server import digest
from patience import PATIENCE_S

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeaseRef
from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.jobs.work.fetching import UNUSED_MAX, BlobFetcher, NotWantedError

LARGE = b"x" * 40_000


@pytest.fixture
def executor(agent):
    return agent.parts.executor


def test_blobs_are_let_go_when_no_lease_needs_them_but_for_the_last_few(agent, server, executor):
    inputs = [LARGE + bytes([number]) for number in range(2 * UNUSED_MAX)]
    for data in inputs:
        job = server.add_job(data)
        agent.parts.contracting.step()
        assert executor.wait_for(1)
        assert agent.parts.fetcher.holds(digest(data))
        executor.finish(job)
    held = [data for data in inputs if agent.parts.fetcher.holds(digest(data))]
    assert held == inputs[-UNUSED_MAX + 1 :]
    assert agent.parts.fetcher.holds(digest(b"code")), "each job needed it"


@pytest.mark.parametrize("together", [True, False])
def test_blob_that_two_leases_need_stays_until_both_have_ended(make_fetcher, server, together):
    fetcher, cache = make_fetcher()
    blob = server.add_blob(b"shared")
    first, second = LeaseRef(job=Id(1), lease="l"), LeaseRef(job=Id(2), lease="l")
    for refs in [[first, second]] if together else [[first], [second]]:
        assert fetcher.get(refs, blob, digest(b"shared")).read_bytes() == b"shared"
    fetcher.release([first])
    fetcher.release([first])
    fill(fetcher, server)
    assert fetcher.holds(digest(b"shared"))
    fetcher.release([second])
    fill(fetcher, server)
    assert not fetcher.holds(digest(b"shared"))
    assert not cache._pins[digest(b"shared")]


def test_blob_that_two_threads_get_at_once_is_fetched_once_and_let_go(make_fetcher, server):
    fetcher, cache = make_fetcher()
    blob = server.add_blob(b"shared")
    refs = [LeaseRef(job=Id(number), lease="l") for number in range(8)]
    threads = [threading.Thread(target=fetcher.get, args=([ref], blob, digest(b"shared"))) for ref in refs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(server.sent("download")) == 1
    for ref in refs:
        fetcher.release([ref])
    fill(fetcher, server)
    assert not fetcher.holds(digest(b"shared"))
    assert not cache._pins[digest(b"shared")]


def test_blob_whose_held_file_was_damaged_is_fetched_again(make_fetcher, server):
    fetcher, cache = make_fetcher()
    blob, checksum = server.add_blob(b"shared"), digest(b"shared")
    first, second = LeaseRef(job=Id(1), lease="l"), LeaseRef(job=Id(2), lease="l")
    fetcher.get([first], blob, checksum).write_bytes(b"")
    assert fetcher.get([second], blob, checksum).read_bytes() == b"shared"
    fetcher.release([first, second])
    fill(fetcher, server)
    assert not cache._pins[checksum]


def test_blob_for_several_leases_is_held_for_those_that_did_not_end_meanwhile(agent, tmp_path, server):
    cache = BlobCache(tmp_path / "cache", capacity_bytes=10**6)
    fetcher, blob = BlobFetcher(agent.shared, cache), server.add_blob(b"shared")
    ended, going = LeaseRef(job=Id(1), lease="l"), LeaseRef(job=Id(2), lease="l")
    agent.lease_table.admit([going])
    assert fetcher.get([ended, going], blob, digest(b"shared")).read_bytes() == b"shared"
    with pytest.raises(NotWantedError):
        fetcher.get([ended], blob, digest(b"shared"))
    agent.lease_table.forget(going)
    fetcher.release([going])
    fetcher._shared.lease_table.is_open = lambda _: True
    fill(fetcher, server)
    assert not cache._pins[digest(b"shared")]


def fill(fetcher, server):
    """Get and let go of so many blobs that none before is held without need."""
    for number in range(UNUSED_MAX):
        ref, data = LeaseRef(job=Id(1000), lease="l"), b"other %d" % number
        fetcher.get([ref], server.add_blob(data), digest(data))
        fetcher.release([ref])


@pytest.fixture
def make_fetcher(agent, tmp_path):
    """Return a function that makes a fetcher for which every lease counts, and its cache."""

    def make():
        agent.shared.lease_table.is_open = lambda _: True
        cache = BlobCache(tmp_path / "cache", capacity_bytes=10**6)
        return BlobFetcher(agent.shared, cache), cache

    return make
