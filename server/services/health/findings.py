"""What a look at the server finds, in plain words, each with what to do. Nothing here reads the database."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from piecework import __version__
from piecework.protocol.messages import Finding, FindingLevel, WaitReason, WorkerState
from piecework.receipts.errors import KeyFileError
from piecework.receipts.keys import check_key
from piecework.server.blobs import BlobStore
from piecework.server.services.functions.overview import FunctionView
from piecework.server.services.queue.figures.statistics import LambdaFigures
from piecework.server.services.queue.leasing.pace import Straggler
from piecework.server.services.queue.reading.waits import Wait
from piecework.server.settings import DIRECTORY, Settings
from piecework.server.store.queue.figures.tallies import Tally
from piecework.server.store.queue.leasing.holds import Hold
from piecework.server.store.queue.schedules.schedule_records import Schedule
from piecework.server.store.queue.trust.memos import MemoStop
from piecework.server.store.queue.webhooks.webhook_records import Webhook
from piecework.server.store.records import Job, Lane, Worker
from piecework.text.durations import format_duration

SHOWN_MAX = 5
"""Things of one kind that are told of one by one."""
OLD_MS = 3_600_000
"""A job that waited for a worker for so long waits for too long."""
SKEW_MS = 5_000
"""A worker's clock that differs by more makes times in logs and certificates wrong."""
FAILED_MOST = 0.5
FAILED_LEAST = 10
"""When so many jobs of a lambda failed in an hour, and so large a share of those that ended, it is told."""
LITTLE_BYTES = 1 << 30
NEARLY_NOTHING_BYTES = 100 << 20
BACKUP_MS = 7 * 86_400_000
_LACKS = {WaitReason.NO_WORKER, WaitReason.UNABLE, WaitReason.DRAINING}


def _say(check: str, level: FindingLevel, text: str, advice: str = "") -> Finding:
    found = Finding(check=check, level=level, text=text)
    if advice:
        found.advice = advice
    return found


def sum_up(found: Sequence[Finding]) -> str:
    """Return one line about all that was found."""
    wrong = [each for each in found if each.level == "wrong"]
    if not wrong:
        notices = sum(each.level == "notice" for each in found)
        return "all is well" + (f"; {_count(notices, 'thing')} to know" if notices else "")
    more = f", and {_count(len(wrong) - 1, 'more thing')}" if len(wrong) > 1 else ""
    return f"{wrong[0].text}{more}"


def look_at_disk(place: Path, free_bytes: int) -> Finding:
    """Tell whether the disk of the data directory has room."""
    text = f"{free_bytes / 1e9:.1f} GB are free in {place.absolute()}"
    if free_bytes < NEARLY_NOTHING_BYTES:
        return _say("disk", "wrong", text, "make room, or keep jobs for less long: PIECEWORK_RETAIN_…")
    level: FindingLevel = "notice" if free_bytes < LITTLE_BYTES else "ok"
    return _say("disk", level, text, "see what takes it: piecework server status" if level == "notice" else "")


def look_at_files(settings: Settings) -> Finding:
    """Tell whether others of the machine can read what is stored."""
    places = [settings.data, *([] if settings.database_url else [settings.database_file])]
    try:
        open_ = [str(each.absolute()) for each in places if each.stat().st_mode & 0o077]
    except OSError as error:
        return _say("files", "wrong", f"{error.filename} cannot be looked at: {error.strerror}", "see who owns it")
    if settings.data.stat().st_mode & 0o077 and open_:
        return _say(
            "files", "wrong", f"other users of this machine can get at {' and '.join(open_)}",
            f"chmod -R go= {settings.data.absolute()}",
        )  # fmt: skip
    return _say("files", "ok", "only the server's user can read what it stores")


def look_at_key(path: Path) -> Finding:
    """Tell whether this server can sign receipts. ``path``: its key."""
    try:
        is_there = check_key(path)
    except KeyFileError as error:
        advice = "until then jobs get no receipts, and lambdas that require them no results"
        return _say("receipts", "wrong", str(error), advice)
    return _say("receipts", "ok", "this server has a key" if is_there else "the first one makes this server's key")


def look_at_settings(settings: Settings) -> list[Finding]:
    """Tell of settings that cost safety."""
    found = []
    if settings.synchronous.upper() == "OFF" and not settings.database_url:
        found.append(
            _say(
                "settings", "notice", "a power cut may damage the database: PIECEWORK_SYNCHRONOUS is OFF",
                "leave it out, or set it to FULL",
            )
        )  # fmt: skip
    if settings.webhook_private.strip() == "*":
        found.append(
            _say(
                "settings", "notice", "webhooks may lead to every private address",
                "name the networks in PIECEWORK_WEBHOOK_PRIVATE",
            )
        )  # fmt: skip
    if settings.functions_open and not settings.is_loopback:
        text = "everybody who reaches this server may call its functions: PIECEWORK_FUNCTIONS_OPEN is set"
        found.append(_say("settings", "notice", text, "leave it out where callers have tokens"))
    return found or [_say("settings", "ok", "none costs safety")]


def look_at_blobs(settings: Settings, store: BlobStore, *, has_files: bool) -> Finding:
    """Tell of large blobs in other places than one. ``has_files``: there are some in the data directory."""
    if settings.blobs_from:
        advice = "piecework server blobs move, and leave out PIECEWORK_BLOBS_FROM afterwards"
        return _say("blobs", "notice", f"large blobs are in {store}", advice)
    if has_files and settings.blobs != DIRECTORY:
        text = f"large blobs are in the directory {settings.data.absolute()}, where this server does not look"
        return _say("blobs", "notice", text, f"PIECEWORK_BLOBS_FROM={DIRECTORY}, and piecework server blobs move")
    return _say("blobs", "ok", f"large blobs are in {store}")


def look_at_workers(known: Sequence[Worker], states: Mapping[int, WorkerState], now: int) -> list[Finding]:
    """Tell of workers that take no jobs, vanished, or differ from the server."""
    alive = [each for each in known if states[each.id] in _ALIVE]
    found = []
    for worker in [each for each in alive if each.trouble][:SHOWN_MAX]:
        text = f"worker {worker.name} takes no jobs: {worker.trouble}"
        found.append(_say("workers", "wrong", text, f"see to its node: piecework worker show {worker.id}"))
    gone = [each for each in known if states[each.id] is WorkerState.GONE]
    for worker in gone[:SHOWN_MAX]:
        text = f"worker {worker.name} was not heard of for {format_duration((now - worker.seen_at) / 1000)}"
        advice = f"start its agent again, or forget it: piecework worker retire {worker.id}"
        found.append(_say("workers", "notice", text, advice))
    if not alive:
        found.append(_say("workers", "notice", "no worker was heard of lately", "start one: piecework worker run"))
    if not found:
        found.append(_say("workers", "ok", f"{_count(len(alive), 'worker')} heard of within a minute"))
    return [*found, _look_at_clocks(alive), _look_at_versions(alive)]


_ALIVE = frozenset({WorkerState.BUSY, WorkerState.IDLE, WorkerState.DRAINING, WorkerState.UNABLE})


def _look_at_clocks(alive: Sequence[Worker]) -> Finding:
    wrong = [each for each in alive if each.skew_ms is not None and abs(each.skew_ms) > SKEW_MS]
    if not wrong:
        told = sum(each.skew_ms is not None for each in alive)
        return _say("clocks", "ok", f"{_count(told, 'worker')} told the time, each nearly the server's")
    one = max(wrong, key=lambda each: abs(each.skew_ms or 0))
    way = "ahead of" if (one.skew_ms or 0) > 0 else "behind"
    text = f"the clock of worker {one.name} is {format_duration(abs(one.skew_ms or 0) / 1000)} {way} the server's"
    more = f", and {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
    advice = "let a time service set the clocks of the nodes; leases do not depend on them"
    return _say("clocks", "notice", text + more, advice)


def _look_at_versions(alive: Sequence[Worker]) -> Finding:
    others = Counter(each.agent_version for each in alive if each.agent_version not in {"", __version__})
    if not others:
        return _say("versions", "ok", f"server and agents have version {__version__}")
    shown = ", ".join(f"{_count(count, 'agent')} {version}" for version, count in sorted(others.items()))
    return _say("versions", "notice", f"this server is {__version__}, but {shown}", "upgrade what is older")


def look_at_queue(queued: Iterable[tuple[Lane, int, Job | None, Wait | None]], now: int) -> list[Finding]:
    """Tell of jobs that no worker will take, and of those that wait for long."""
    found, oldest = [], None
    for lane, count, head, wait in queued:
        if head is None:
            continue
        if wait is not None and wait.reason in _LACKS:
            text = f"{_count(count, 'job')} of runtime {lane.runtime} cannot run: {wait.text}"
            found.append(_say("queue", "wrong", text, f"piecework job show {head.id} says more"))
        elif wait is None or wait.reason is not WaitReason.HELD:
            oldest = head if oldest is None or head.created_at < oldest.created_at else oldest
    if oldest is not None and now - max(oldest.created_at, oldest.options.due_at or 0) > OLD_MS:
        text = f"job {oldest.id} is ready, and has waited for {format_duration((now - oldest.created_at) / 1000)}"
        found.append(_say("queue", "notice", text, f"piecework job show {oldest.id} says why; add workers"))
    return found[:SHOWN_MAX] or [_say("queue", "ok", "all jobs that are ready have workers that may run them")]


def look_at_stragglers(late: Sequence[Straggler]) -> Finding:
    """Tell of running jobs that straggle."""
    if not late:
        return _say("stragglers", "ok", "no job runs far longer than usual")
    shown = "; ".join(
        f"job {each.job_id} of lambda {each.lambda_name} has run for {format_duration(each.ran_s)},"
        f" usual are {format_duration(each.expected_s)}"
        for each in late[:SHOWN_MAX]
    )
    more = f"; and {len(late) - SHOWN_MAX} more" if len(late) > SHOWN_MAX else ""
    verb = "runs" if len(late) == 1 else "run"
    advice = (
        f"piecework job log {late[0].job_id} may say what it does; piecework job cancel {late[0].job_id} ends it"
    )
    return _say(
        "stragglers", "notice", f"{_count(len(late), 'job')} {verb} far longer than usual: {shown}{more}", advice
    )


def look_at_failures(hour: Sequence[LambdaFigures]) -> list[Finding]:
    """Tell of lambdas most of whose jobs failed in the last hour."""
    found = []
    for name, failed, ended in map(_count_ends, hour):
        if failed >= FAILED_LEAST and failed > FAILED_MOST * ended:
            text = f"{failed} of {_count(ended, 'job')} of lambda {name} failed in the last hour"
            found.append(_say("failures", "wrong", text, "piecework job list --failed tells the reasons"))
    return found[:SHOWN_MAX] or [_say("failures", "ok", "no lambda's jobs failed for the most part")]


def _count_ends(figures: LambdaFigures) -> tuple[str, int, int]:
    failed, finished = (figures.tally.counts.get(each, 0) for each in ("failed", "finished"))
    return figures.name or str(figures.id), failed, failed + finished


def look_at_losses(hour: Tally) -> Finding:
    """Tell of leases that ran out in the last hour."""
    lost = hour.counts.get("lost", 0)
    if not lost:
        return _say("leases", "ok", "none ran out in the last hour")
    text = f"{_count(lost, 'lease')} ran out in the last hour: workers vanished, or were cut off"
    return _say("leases", "notice", text, "piecework worker list, and the logs of the agents")


def look_at_holds(paused: Sequence[Hold]) -> Finding:
    """Tell of what is paused."""
    if not paused:
        return _say("paused", "ok", "nothing is paused")
    shown = ", ".join(each.describe() for each in paused[:SHOWN_MAX])
    more = f" and {len(paused) - SHOWN_MAX} more" if len(paused) > SHOWN_MAX else ""
    return _say("paused", "notice", f"paused: {shown}{more}", "piecework resume lets the jobs go on")


def look_at_schedules(ticking: Sequence[Schedule]) -> Finding:
    """Tell of schedules that submit nothing though they should."""
    failed = [each for each in ticking if each.error]
    if not failed:
        return _say("schedules", "ok", f"{_count(len(ticking), 'schedule')}, none has failed")
    one, more = failed[0], f", and {len(failed) - 1} more failed" if len(failed) > 1 else ""
    text = f"schedule {one.name} submitted no job at its last tick: {one.error}{more}"
    return _say("schedules", "wrong", text, f"piecework schedule show {one.name}")


def look_at_webhooks(told: Sequence[Webhook]) -> Finding:
    """Tell of webhooks that were paused because they refuse everything."""
    troubled = [each for each in told if each.trouble]
    if not troubled:
        return _say("webhooks", "ok", f"{_count(len(told), 'webhook')}, none in trouble")
    one = troubled[0]
    text = f"webhook {one.name} is told nothing any more: {one.trouble}"
    return _say("webhooks", "wrong", text, f"put it right, then: piecework webhook resume {one.name}")


def look_at_memos(stops: Sequence[MemoStop]) -> Finding:
    """Tell of deterministic code that gave two results for one job."""
    if not stops:
        return _say("memos", "ok", "no deterministic job was seen to give two results")
    one = stops[0]
    text = f"results of the code {one.code_sha256[:12]} are not kept any more: {one.detail}"
    advice = "see which worker is wrong; then: piecework lambda forget LAMBDA"
    return _say("memos", "wrong", text, advice)


def look_at_functions(views: Sequence[FunctionView]) -> Finding:
    """Tell of functions that run on fewer replicas than they should."""
    lacking = [
        (f"{each.revision.function}/{each.revision.name}", each.advice)
        for view in views
        for each in view.revisions
        if each.advice
    ]
    if not lacking:
        return _say("functions", "ok", f"{_count(len(views), 'function')}, none has too few replicas")
    name, advice = lacking[0]
    more = f", and so have {len(lacking) - 1} others" if len(lacking) > 1 else ""
    text = f"function {name} has too few replicas: {advice}{more}"
    return _say("functions", "wrong", text, f"piecework function show {name.partition('/')[0]}")


def look_at_backup(backup_at: int | None, now: int, *, is_shared: bool) -> Finding:
    """Tell how old the last backup is."""
    if is_shared:
        return _say("backup", "ok", "PostgreSQL's own tools make them; when, is not known here")
    advice = "piecework server backup FILE"
    if backup_at is None:
        return _say("backup", "notice", "no backup of this server is known", advice)
    text = f"the last one is {format_duration(max(0, now - backup_at) / 1000)} old"
    return _say("backup", "ok", text) if now - backup_at < BACKUP_MS else _say("backup", "notice", text, advice)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
