"""Functions: what a host reports and is told to run, deployments, and all that is known of functions."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown
from piecework.protocol.messages.functions.recorded_calls import CallRecording
from piecework.protocol.messages.gates import GateEvidence
from piecework.protocol.messages.lambdas import Grants, Limits
from piecework.protocol.names import LambdaRef
from piecework.protocol.text import Name, VariableName

REPLICAS_MAX = 1000
"""Of one revision, and on one host."""

Count = Annotated[int, Meta(ge=0, le=2**62)]
Milliseconds = Annotated[float, Meta(ge=0, le=1e12)]
Wanted = Annotated[int, Meta(ge=0, le=REPLICAS_MAX)]
Weight = Annotated[int, Meta(ge=1, le=1_000_000)]


class ReplicaState(StrEnum):
    """How a replica stands, as its host says."""

    STARTING = "starting"
    """Its process does not answer yet."""
    RUNNING = "running"
    """It answers calls."""
    FAILED = "failed"
    """It ended, or did not start; its host tries again."""
    STOPPING = "stopping"
    """It ends the calls that it has, and takes no more."""


class ReplicaReport(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """How one replica does."""

    id: Id
    """The replica, as its order named it."""
    state: ReplicaState
    """How it stands."""
    url: str | None = None
    """Where the server reaches it; required while it is running."""
    pid: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    """Its process on its node."""
    error: str = ""
    """Why it failed last."""
    failures: Count = 0
    """How often in a row it failed; 0 once it runs. After some, another host may get it."""
    calls: Count = 0
    """Calls that it answered since its process started."""
    errors: Count = 0
    """Those of them that failed: status 500 and above."""
    p50_ms: Milliseconds | None = None
    """Half of its latest calls took no longer, milliseconds."""
    p99_ms: Milliseconds | None = None
    """99 of 100 of its latest calls took no longer, milliseconds."""
    unrecorded: dict[str, Count] = {}
    """Calls whose turn it was to be recorded, and that were not, by the reason: ``secrets`` in what they carry;
    their ``size``; ``haste``, when too many others had just been recorded."""
    log: bytes = b""
    """What its function wrote to the log since the last report; base64 in JSON."""
    log_start: Count = 0
    """Bytes that it wrote before ``log``."""


class FunctionReport(Message, kw_only=True):
    """The body of ``POST /worker/{id}/functions``: how a host's replicas do."""

    slots: Wanted
    """Replicas that the host runs at most; 0 asks for none and gives all of them up."""
    replicas: list[ReplicaReport] = []
    """Every replica that the host runs, starts or stops. Those that the server does not know are ignored."""
    incarnation: Maybe[str] = UNSET
    """As in a contract."""


class ReplicaOrder(Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A replica that a host is to run, with all that it needs for that. The order of a replica never changes."""

    id: Id
    """The replica."""
    function: str
    """Whose replica it is."""
    revision: str
    """Which version of the function."""
    lambda_: Id = msgspec.field(name="lambda")
    """The revision's lambda."""
    runtime: str
    """What the lambda needs."""
    codex: Id
    """The blob with the code."""
    codex_checksum: str
    """SHA-256 of the code, hex."""
    codex_size: int
    """Size of the code, bytes."""
    args: list[str] = []
    """Command line, without the program's name."""
    env: dict[str, str] = {}
    """Environment. It may hold secrets: never show it."""
    limits: Limits = Limits()
    """What one call may use: the lambda's, over the server's."""
    grants: Grants = Grants()
    """What it may touch, if the node's operator allows it too."""
    mode: str = "http"
    """The lambda's mode: how it is called."""
    record: Maybe[CallRecording] = UNSET
    """Which of its calls are recorded; absent: none."""
    token: str
    """A secret: the replica answers only calls that show it in ``Piecework-Replica-Token``."""


class FunctionOrders(Reply, kw_only=True):
    """The answer of ``POST /worker/{id}/functions``."""

    replicas: list[ReplicaOrder]
    """All that the host is to run. What is not among them must be stopped, after the calls that it has."""
    drain: bool = False
    """True: an operator asks this worker to take no more."""


class DeploymentPut(Message, kw_only=True):
    """The body of ``PUT /deployments/{function}/{revision}``.

    One of ``module``, ``codex`` and ``lambda`` says what to run. Only the number of replicas can change later.
    """

    module: Maybe[str] = UNSET
    """``org/module/tag`` of the registry; with ``@sha256:…`` only if it has that digest."""
    codex: Maybe[Id] = UNSET
    """An uploaded blob with the code."""
    lambda_: Maybe[LambdaRef] = msgspec.field(default=UNSET, name="lambda")
    """A lambda, by id or name: its code, and its options where this message is silent."""
    replicas: Maybe[Wanted] = UNSET
    """How many processes are to serve it; left out: 1, or as before. With 0, each call is a job."""
    runtime: Maybe[Name] = UNSET
    """``Base[+Feature…]``; found out from the code when left out."""
    args: Maybe[list[str]] = UNSET
    """Its command line, without the program's name."""
    env: Maybe[dict[VariableName, str]] = UNSET
    """Its environment. In lists, values of variables whose names look secret are shown as ``***``."""
    tags: Maybe[list[str]] = UNSET
    """Which workers may, or should, run it: as the tags of a job."""
    limits: Maybe[Limits] = UNSET
    """What one call may use."""
    grants: Maybe[Grants] = UNSET
    """What it may touch outside of its sandbox."""
    source: Maybe[str] = UNSET
    """Where the code of ``codex`` was pulled from, for people: ``oci://HOST/NAME@sha256:…``."""
    record: Maybe[CallRecording] = UNSET
    """Which of its calls are recorded; left out: none."""
    gate: Maybe[GateEvidence] = UNSET
    """What came of replaying recorded calls against its code; kept, and shown."""
    default: bool = False
    """Calls that name no revision go to this one from now on. They do to a function's first revision anyway."""


class DeploymentScale(Message, kw_only=True):
    """The body of ``PATCH /deployments/{function}/{revision}``."""

    replicas: Wanted
    """How many processes are to serve it; with 0, each call is a job."""


class DefaultPut(Message, kw_only=True):
    """The body of ``PUT /deployments/{function}/default``."""

    revision: str
    """Where calls that name no revision go. A split ends."""


class SplitPut(Message, kw_only=True):
    """The body of ``PUT /deployments/{function}/split``."""

    weights: dict[str, Weight]
    """By revision: its share of the calls that name none, out of the sum of all. Takes the default's place."""


class Traffic(Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Calls that passed one control server since it started."""

    calls: int
    """Calls that were answered."""
    errors: int
    """Those of them that failed: status 500 and above."""
    jobs: int = 0
    """Those of them that ran as jobs."""
    p50_ms: float | None = None
    """Half of the latest calls took no longer, milliseconds."""
    p99_ms: float | None = None
    """99 of 100 of the latest calls took no longer, milliseconds."""


class ReplicaInfo(Shown, msgspec.Struct, kw_only=True):
    """One process that serves a revision."""

    id: Id
    """The replica."""
    worker: Id
    """Its host."""
    worker_name: str
    """What its host is called."""
    state: ReplicaState
    """How it stands."""
    since: float
    """When it got into its state, seconds since 1970."""
    url: Maybe[str] = UNSET
    """Where it is reached."""
    pid: Maybe[int] = UNSET
    """Its process on its node."""
    error: Maybe[str] = UNSET
    """Why it failed last."""
    calls: int
    """Calls that it answered since its process started."""
    errors: int
    """Those of them that failed."""
    p50_ms: Maybe[float] = UNSET
    """Half of its latest calls took no longer, milliseconds."""
    p99_ms: Maybe[float] = UNSET
    """99 of 100 of its latest calls took no longer, milliseconds."""
    unrecorded: Maybe[dict[str, int]] = UNSET
    """Calls that were not recorded though it was their turn, by the reason, as its host reports them."""


class RevisionInfo(Shown, msgspec.Struct, kw_only=True):
    """One version of a function. Those that only have URLs have no ``lambda`` and nothing that comes from it."""

    name: str
    """Which version."""
    created_at: float
    """Seconds since 1970."""
    wanted: int
    """Replicas that it is to have."""
    replicas: list[ReplicaInfo]
    """Replicas that it has, or that are starting."""
    urls: list[str]
    """Where else it is served: URLs that somebody registered."""
    share: float
    """Of the calls that name no revision, from 0 to 1."""
    traffic: Maybe[Traffic] = UNSET
    """What passed the server that answers this; absent when nothing did."""
    set_aside: Maybe[dict[str, str]] = UNSET
    """URLs that failed that server lately, and are passed by, each with what went wrong; absent without any."""
    lambda_: Maybe[Id] = msgspec.field(default=UNSET, name="lambda")
    """What it runs."""
    module: Maybe[str] = UNSET
    """Where its code comes from: ``org/module/tag@sha256:…``; absent when it is not from the registry."""
    source: Maybe[str] = UNSET
    """Where its code was pulled from, as its maker says: ``oci://HOST/NAME@sha256:…``; absent when not known."""
    checksum: Maybe[str] = UNSET
    """SHA-256 of its code, hex."""
    runtime: Maybe[str] = UNSET
    """What it needs of a worker."""
    args: Maybe[list[str]] = UNSET
    """Its command line."""
    env: Maybe[dict[str, str]] = UNSET
    """Its environment; ``***`` for what looks secret."""
    tags: Maybe[list[str]] = UNSET
    """Which workers may, or should, run it."""
    limits: Maybe[Limits] = UNSET
    """What one call may use."""
    grants: Maybe[Grants] = UNSET
    """What it may touch."""
    record: Maybe[CallRecording] = UNSET
    """Which of its calls are recorded; absent: none."""
    recorded: Maybe[int] = UNSET
    """How many recorded calls are kept of it; absent when none ever should be."""
    gate: Maybe[GateEvidence] = UNSET
    """What came of replaying recorded calls against its code, as its maker says."""
    advice: Maybe[str] = UNSET
    """Why it has fewer replicas than it should, when that is known."""


class FunctionInfo(Reply, kw_only=True):
    """The answer of ``GET /deployments/{function}``, and of every request that changes one."""

    name: str
    """What people call."""
    created_at: float
    """Seconds since 1970."""
    default: Maybe[str] = UNSET
    """The revision to which calls go that name none; absent when there is none, or a split."""
    split: Maybe[dict[str, int]] = UNSET
    """Weights by revision, of calls that name none."""
    revisions: list[RevisionInfo]
    """Its versions, newest first."""


class FunctionList(Reply, kw_only=True):
    """The answer of ``GET /functions``: by name."""

    functions: list[FunctionInfo]
    """All functions with all that is known about them."""


class ReplicaLog(Shown, msgspec.Struct, kw_only=True):
    """What the function of one replica wrote to its log; the newest is kept."""

    replica: Id
    """Whose log it is."""
    worker_name: str
    """Where it runs."""
    text: str
    """Bytes that are not UTF-8 are shown as replacement characters."""
    offset: int
    """Bytes that it wrote before ``text``."""
    next: int
    """Bytes that it wrote in all: later ones start here."""
    ended_at: Maybe[float] = UNSET
    """When its process ended, seconds since 1970; left out while there is one."""


class DeploymentLog(Reply, kw_only=True):
    """The answer of ``GET /deployments/{function}/{revision}/log``."""

    replicas: list[ReplicaLog]
    """One for each of the last that ended, and then one for each replica that there is, oldest first."""
