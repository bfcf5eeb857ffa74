"""Which worker may run which job: runtimes with features, and tags."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

INPUTS_TAG = "inputs"
"""What who gives jobs the outputs of others as files says in its contracts. Jobs that get some need it."""
FILES_TAG = "files"
"""The same of who gives jobs a directory of their own."""
REPLAY_TAG = "replay"
"""The same of who does runs of others again, and compares."""
AGENT_TAGS = (INPUTS_TAG, FILES_TAG, REPLAY_TAG)
"""What our agents say in each contract, and do not register."""


class RuntimeName(NamedTuple):
    """A runtime as named on the wire: ``Base[+Feature…]``."""

    base: str
    features: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> "RuntimeName":
        base, *features = text.split("+")
        return cls(base, frozenset(filter(None, features)))


def offers_runtime(offered: Iterable[str], wanted: str) -> bool:
    """Tell whether a worker that lists ``offered`` can run a lambda whose runtime is ``wanted``.

    It can when it lists exactly that string, or the same base with at least the wanted features.
    """
    need = RuntimeName.parse(wanted)
    for text in offered:
        have = RuntimeName.parse(text)
        if text == wanted or (have.base == need.base and have.features >= need.features):
            return True
    return False


class TagSet(NamedTuple):
    """The tags of a job, sorted by what they ask of a worker."""

    suggested: frozenset[str]
    """Plain tags: the more of them a worker has, the better it fits."""
    necessary: frozenset[str]
    """``+tag``: a worker without it never gets the job."""
    rejected: frozenset[str]
    """``-tag``: a worker with it never gets the job."""

    @classmethod
    def parse(cls, tags: Iterable[str]) -> "TagSet":
        """Sort tags by their first character; a bare ``+`` or ``-`` is dropped."""
        suggested, necessary, rejected = set(), set(), set()
        for tag in tags:
            if tag.startswith("+"):
                necessary.add(tag[1:])
            elif tag.startswith("-"):
                rejected.add(tag[1:])
            else:
                suggested.add(tag)
        return cls(*(frozenset(filter(None, group)) for group in (suggested, necessary, rejected)))

    def admits(self, worker_tags: frozenset[str]) -> bool:
        """Tell whether a worker with these tags may run the job."""
        return self.necessary <= worker_tags and not self.rejected & worker_tags


OWNER_TAG = "owner:"
"""What the tag begins with that a server gives each worker: whose it is."""
WORKER_TAG = "worker:"
"""What the tag begins with that a server gives each worker alone: its id follows."""
TRUSTED_TAG = "trusted"
"""The tag that a server gives workers whose results it accepts as they are."""
RECEIPTS_TAG = "receipts"
"""The tag that a server gives workers that sign receipts."""
ENGINE_TAG = "engine:"
"""What the tags of workers begin with that run code with another engine than most."""


def worker_tags(registered: Iterable[str], asked: Iterable[str] = ()) -> frozenset[str]:
    """Add a contract's tags to those the worker registered with.

    A worker's tag is a plain name: ``+gpu`` says the same as ``gpu``; ``-gpu`` in a contract takes the tag
    away for that request.
    """
    return _join_tags(tuple(registered), tuple(asked))


@lru_cache(maxsize=1000)
def _join_tags(registered: tuple[str, ...], asked: tuple[str, ...]) -> frozenset[str]:
    own, wanted = TagSet.parse(registered), TagSet.parse(asked)
    return (own.suggested | own.necessary | wanted.suggested | wanted.necessary) - wanted.rejected


def is_given(tag: str) -> bool:
    """Tell whether a tag is one that servers give workers, and that none has by itself."""
    return tag in {TRUSTED_TAG, RECEIPTS_TAG} or tag.startswith((OWNER_TAG, WORKER_TAG))
