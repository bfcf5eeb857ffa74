"""Functions: ``/functions`` and ``/deployments``, and what hosts of replicas report."""

from msgspec import UNSET

from piecework.protocol.bodies import decode
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    DefaultPut,
    DeploymentLog,
    DeploymentPut,
    DeploymentScale,
    FunctionInfo,
    FunctionList,
    FunctionOrders,
    FunctionReport,
    GateEvidence,
    MessageReply,
    ReplicaInfo,
    ReplicaLog,
    RevisionInfo,
    SplitPut,
)
from piecework.protocol.secrets import mask_secrets
from piecework.server.errors import InvalidParameter
from piecework.server.services import Services
from piecework.server.services.functions.overview import FunctionView, RevisionView
from piecework.server.store.functions.kept_logs import KeptLog
from piecework.server.store.functions.replicas import HostRow, ReplicaRow
from piecework.server.web.endpoint import Query, endpoint

ALL = "/deployments"
FUNCTION = "/deployments/<string:function>"
REVISION = "/deployments/<string:function>/<string:revision>"


class RemoveQuery(Query, kw_only=True):
    """How to remove a revision."""

    force: bool = False
    """Also when the calls that name no revision go to it."""


@endpoint("POST", "/worker/<worker>/functions", scope="worker", body=FunctionReport, reply=FunctionOrders)
def report(services: Services, id_: Id, body: FunctionReport) -> FunctionOrders:
    """Tell how a worker's replicas do, and learn which ones it is to run."""
    return services.hosting.report(id_, body)


@endpoint("GET", "/functions", scope="view", reply=FunctionList)
@endpoint("GET", ALL, scope="view", reply=FunctionList)
def list_all(services: Services) -> FunctionList:
    """List functions by name: revisions, where they run, how they do."""
    return FunctionList(functions=[_info(each) for each in services.overview.of_all()])


@endpoint("GET", FUNCTION, scope="view", reply=FunctionInfo)
def show(services: Services, function: str) -> FunctionInfo:
    """Tell everything about a function: revisions, where they run, how they do."""
    return _info(services.overview.of(function))


@endpoint("PUT", REVISION, scope="operate", body=DeploymentPut, reply=FunctionInfo)
def deploy(services: Services, function: str, revision: str, body: DeploymentPut) -> FunctionInfo:
    """Make a revision of a function, and have it served by so many replicas."""
    services.deployments.deploy(function, revision, body)
    return show(services, function)


@endpoint("PATCH", REVISION, scope="operate", body=DeploymentScale, reply=FunctionInfo)
def scale(services: Services, function: str, revision: str, body: DeploymentScale) -> FunctionInfo:
    """Change how many replicas a revision is to have."""
    services.deployments.scale(function, revision, body.replicas)
    return show(services, function)


@endpoint("DELETE", REVISION, scope="operate", query=RemoveQuery, reply=MessageReply)
def remove_revision(services: Services, function: str, revision: str, query: RemoveQuery) -> MessageReply:
    """Remove a revision; its replicas stop."""
    services.deployments.remove_revision(function, revision, force=query.force)
    return MessageReply(message=f"{function}/{revision} is removed")


@endpoint("DELETE", FUNCTION, scope="operate", reply=MessageReply)
def remove_function(services: Services, function: str) -> MessageReply:
    """Remove a function with all of its revisions; their replicas stop."""
    services.deployments.remove_function(function)
    return MessageReply(message=f"the function {function} is removed")


@endpoint("PUT", f"{FUNCTION}/default", scope="operate", body=DefaultPut, reply=FunctionInfo)
def set_default(services: Services, function: str, body: DefaultPut) -> FunctionInfo:
    """Send the calls that name no revision to this one."""
    services.deployments.set_default(function, body.revision)
    return show(services, function)


@endpoint("DELETE", f"{FUNCTION}/default", scope="operate", reply=FunctionInfo)
def remove_default(services: Services, function: str) -> FunctionInfo:
    """Send the calls that name no revision nowhere; a split ends, too."""
    services.deployments.set_default(function, None)
    return show(services, function)


@endpoint("PUT", f"{FUNCTION}/split", scope="operate", body=SplitPut, reply=FunctionInfo)
def split(services: Services, function: str, body: SplitPut) -> FunctionInfo:
    """Divide the calls that name no revision among some, by weight."""
    services.deployments.split(function, body.weights)
    return show(services, function)


class ReplicaLogQuery(Query, kw_only=True):
    """Which part of the logs."""

    after: str = ""
    """`ID:BYTE,…`: of these replicas only what they logged from that byte on."""


@endpoint("GET", f"{REVISION}/log", scope="view", query=ReplicaLogQuery, reply=DeploymentLog)
def log(services: Services, function: str, revision: str, query: ReplicaLogQuery) -> DeploymentLog:
    """Read what a revision's replicas logged lately, and the last ones that ended."""
    offsets = _read_offsets(query.after)
    logs = services.deployments.read_logs(function, revision)
    there = {each.replica_id for each in logs if each.ended_at is None}
    return DeploymentLog(
        replicas=[
            _log_part(each, offsets.get(each.replica_id, 0))
            for each in logs
            # Where a replica has another process now, the offset is of that one's log.
            if each.ended_at is None or not (offsets and each.replica_id in there)
        ]
    )


def _read_offsets(text: str) -> dict[int, int]:
    try:
        pairs = [each.split(":") for each in text.split(",") if each]
        return {int(replica): int(offset) for replica, offset in pairs}
    except ValueError as error:
        raise InvalidParameter(f"after is {text[:100]!r}, and must be ID:BYTE,…") from error


def _log_part(kept: KeptLog, offset: int) -> ReplicaLog:
    log = kept.log
    start = max(log.start, offset)
    text = log.content[start - log.start :].decode(errors="replace")
    return ReplicaLog(
        replica=Id(kept.replica_id),
        worker_name=kept.worker_name,
        text=text,
        offset=start,
        next=log.end,
        ended_at=UNSET if kept.ended_at is None else kept.ended_at / 1000,
    )


def _info(view: FunctionView) -> FunctionInfo:
    function = view.function
    return FunctionInfo(
        name=function.name,
        created_at=function.created_at / 1000,
        default=function.default_revision or UNSET,
        split=function.split or UNSET,
        revisions=[_revision_info(each, view) for each in view.revisions],
    )


def _revision_info(view: RevisionView, of: FunctionView) -> RevisionInfo:
    info = RevisionInfo(
        name=view.revision.name,
        created_at=view.revision.created_at / 1000,
        wanted=view.revision.replicas,
        replicas=[_replica_info(each, of.hosts.get(each.worker_id)) for each in view.replicas],
        urls=list(view.urls),
        share=view.share,
        traffic=view.traffic or UNSET,
        set_aside=dict(view.set_aside) or UNSET,
        module=view.revision.module or UNSET,
        advice=view.advice or UNSET,
    )
    if view.lambda_ is not None:
        options = view.lambda_.options
        info.lambda_, info.runtime = Id(view.lambda_.id), view.lambda_.runtime
        info.checksum, info.source = view.checksum or UNSET, options.source or UNSET
        info.args, info.env, info.tags = list(options.args), mask_secrets(options.env), list(options.tags)
        info.limits, info.grants = options.limits, options.grants
        if options.recording is not None:
            info.record, info.recorded = options.recording, view.recorded
        if options.gate:
            info.gate = decode(options.gate.encode(), GateEvidence)
    return info


def _replica_info(replica: ReplicaRow, host: HostRow | None) -> ReplicaInfo:
    return ReplicaInfo(
        id=Id(replica.id),
        worker=Id(replica.worker_id),
        worker_name=host.name if host else "",
        state=replica.state,
        since=replica.since / 1000,
        url=replica.url or UNSET,
        pid=UNSET if replica.pid is None else replica.pid,
        error=replica.error or UNSET,
        calls=replica.calls,
        errors=replica.errors,
        p50_ms=UNSET if replica.p50_ms is None else replica.p50_ms,
        p99_ms=UNSET if replica.p99_ms is None else replica.p99_ms,
        unrecorded=UNSET if replica.unrecorded is None else decode(replica.unrecorded.encode(), dict[str, int]),
    )
