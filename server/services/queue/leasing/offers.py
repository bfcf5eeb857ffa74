"""What workers offer: their own tags, those of a contract, and those that the server gives them."""

from collections.abc import Collection, Sequence
from functools import lru_cache

from piecework.protocol.matching import (
    AGENT_TAGS,
    OWNER_TAG,
    RECEIPTS_TAG,
    TRUSTED_TAG,
    WORKER_TAG,
    is_given,
    worker_tags,
)
from piecework.server.store.records import Worker


def offer_tags(worker: Worker, asked: Sequence[str], trusted: Collection[str | None]) -> frozenset[str]:
    """Return all tags of a worker, with what a contract adds and takes away, and what the server gives.

    ``trusted``: the owners whose results are taken as they are.
    """
    given = [f"{OWNER_TAG}{worker.whose}", f"{WORKER_TAG}{worker.id}"]
    if worker.owner in trusted:
        given.append(TRUSTED_TAG)
    if worker.public_key is not None:
        given.append(RECEIPTS_TAG)
    return _join_tags(worker.tags, tuple(asked), tuple(given))


def expect_tags(worker: Worker, trusted: Collection[str | None]) -> frozenset[str]:
    """Return the tags that a worker is likely to have in its next contract."""
    return offer_tags(worker, AGENT_TAGS if worker.agent_version else (), trusted)


@lru_cache(maxsize=10_000)
def _join_tags(own: tuple[str, ...], asked: tuple[str, ...], given: tuple[str, ...]) -> frozenset[str]:
    return frozenset(tag for tag in worker_tags(own, asked) if not is_given(tag)).union(given)
