"""Workers: registering them and looking at them."""

from enum import StrEnum

import msgspec
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown
from piecework.protocol.messages.receipts import KeyId, PublicKey, SignatureBytes
from piecework.protocol.text import Name


class WorkerState(StrEnum):
    """How a worker stands, as the server sees it."""

    BUSY = "busy"
    """Seen lately, with jobs."""
    IDLE = "idle"
    """Seen lately, without jobs."""
    DRAINING = "draining"
    """Told to take no more jobs."""
    UNABLE = "unable"
    """It takes no jobs for a fault of its node; ``trouble`` says which."""
    STOPPED = "stopped"
    """Its process said that it ends."""
    GONE = "gone"
    """Not seen for longer than a poll takes, and it did not say why."""
    RETIRED = "retired"
    """Removed; it must register again."""


class WorkerRegister(Message, kw_only=True):
    """The body of ``POST /worker``."""

    runtime: Maybe[list[str] | None] = UNSET
    """What it can run, each as ``Base[+Feature…]``; ``default`` when left out."""
    name: Maybe[Name] = UNSET
    """For people; need not be unique."""
    tags: list[str] | None = None
    """What jobs may ask for or avoid."""
    slots: Maybe[int] = UNSET
    """Jobs that it runs at once."""
    incarnation: Maybe[str] = UNSET
    """A random name of this start of the process."""
    agent_version: Maybe[str] = UNSET
    """For people."""
    hostname: Maybe[str] = UNSET
    """For people."""
    known_as: Maybe[Id | None] = UNSET
    """The worker that it was until now: it keeps this id, with what it offers now, unless it was retired."""
    public_key: Maybe[PublicKey] = UNSET
    """The Ed25519 key that its receipts are checked with, 32 bytes; base64 in JSON."""
    key_proof: Maybe[SignatureBytes] = UNSET
    """With ``public_key``: a signature by it of ``piecework worker key``, a line feed and ``incarnation``."""


class WorkerRegistered(Reply, kw_only=True):
    """The answer of ``POST /worker``."""

    id: Id
    """The worker: a new one, or the one that it was known as."""
    runtime: list[str]
    """What it offers, as the server understood it."""
    keyid: Maybe[KeyId] = UNSET
    """The name of the key that the server checks its receipts with; only when the request had one."""


class WorkerLeave(Message, kw_only=True):
    """The body of ``POST /worker/{id}/leave``: the last word of a process."""

    incarnation: str
    """The start of the process that ends. A later one of the same worker goes on."""


class HeldJob(msgspec.Struct, kw_only=True):
    """One job that a worker holds."""

    job: Id
    """The job."""
    lambda_: Id = msgspec.field(name="lambda")
    """What it runs."""
    name: Maybe[str] = UNSET
    """The lambda's name, if it has one."""
    since: float
    """Seconds since 1970: when it was leased."""
    attempt: int
    """Which attempt it is."""


class WorkerInfo(Reply, kw_only=True):
    """The answer of ``GET /worker/{id}``. The fields from ``name`` on only with ``?view=full``."""

    id: Id
    """The worker."""
    runtime: list[str]
    """What it offers."""
    name: Maybe[str] = UNSET
    """For people."""
    hostname: Maybe[str] = UNSET
    """Where it runs."""
    agent_version: Maybe[str] = UNSET
    """Which version of the agent it is."""
    tags: Maybe[list[str]] = UNSET
    """What jobs may ask for or avoid."""
    slots: Maybe[int] = UNSET
    """Jobs that it runs at once."""
    state: Maybe[WorkerState] = UNSET
    """How it stands."""
    trouble: Maybe[str] = UNSET
    """Why it takes no jobs now; absent when it does."""
    running: Maybe[int] = UNSET
    """Jobs that it holds now."""
    jobs: Maybe[list[HeldJob]] = UNSET
    """The jobs that it holds, the longest held first; not in lists."""
    registered_at: Maybe[float] = UNSET
    """Seconds since 1970."""
    seen_at: Maybe[float] = UNSET
    """When it was heard of last, to within 5 s."""


class WorkerList(Reply, kw_only=True):
    """The answer of ``GET /worker``."""

    workers: list[WorkerInfo]
    """The workers, with all fields."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""


class OwnerInfo(Shown, msgspec.Struct, kw_only=True):
    """How the workers of one owner did, as far as others ran the same jobs."""

    name: str
    """The name of a token; of a worker without one, ``worker`` and its id."""
    streak: int
    """Results in a row with which others agreed."""
    agreed: int
    """All such results."""
    wrong: int
    """Results that were not the right ones."""
    is_trusted: bool = False
    """Its results are taken as they are: the server's settings name it."""


class OwnerList(Reply, kw_only=True):
    """The answer of ``GET /owner``."""

    owners: list[OwnerInfo]
    """By name; those with whom nobody ever agreed or disagreed are left out."""
