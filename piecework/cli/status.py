"""`piecework status` and `piecework doctor`: whether all is well, what is not, and what to do."""

import time
from collections.abc import Sequence
from pathlib import Path

import rich_click as click
from click.exceptions import Exit

from piecework import __version__
from piecework.cli.failures import FAILED
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_age, format_bytes, tell_count
from piecework.client import ApiError, ClientError, NotFound
from piecework.configuration.checking import read_environment
from piecework.configuration.layers import configure
from piecework.configuration.places import ConfigError
from piecework.memory import import_lastingly
from piecework.protocol.messages import Finding, StatsFigures, StatsTimes, StatusReply, given
from piecework.receipts.errors import KeyFileError
from piecework.receipts.keys import KEY_FILE, check_key
from piecework.text.durations import format_duration

SKEW_S = 5.0
"""A clock that differs by more from the server's is told of."""
MARKS = {"ok": "well  ", "notice": "notice", "wrong": "WRONG "}


@click.command
@remote_command
def status(remote: Remote) -> None:
    """Say whether all is well with the server, on one screen.

    It ends with 1 when something is wrong, also when the server does not answer: for scripts and monitoring.
    `piecework doctor` looks at more, and `piecework top` shows the same live.
    """
    found = remote.client.status()
    if remote.display.as_json:
        remote.display.document(to_document(found))
    else:
        remote.display.line(found.summary)
        remote.display.fields(_list_fields(found))
        show_findings(remote, [each for each in found.findings if each.level != "ok"])
    if not found.is_well:
        raise Exit(FAILED)


def _list_fields(found: StatusReply) -> dict[str, object]:
    ready = f"{found.enqueued:,} ready" + (f", the oldest {_age(found)}" if given(found.oldest_at) else "")
    late = f" ({found.stragglers:,} far longer than usual)" if given(found.stragglers) else ""
    waiting = f"{found.waiting:,} waiting{tell_count(found)}"
    return {
        "jobs": f"{ready}; {found.running:,} running{late}; {waiting}",
        "last hour": describe_counts(found.hour),
        "waited": describe_times(found.hour.wait),
        "ran": describe_times(found.hour.run),
        "workers": ", ".join(f"{count} {state}" for state, count in sorted(found.workers.items())) or "none",
        "database": format_bytes(found.database_bytes),
        "disk": f"{format_bytes(found.disk_free_bytes)} free" if given(found.disk_free_bytes) else None,
        "backup": format_age(found.backup_at, found.at) or None,
        "server": f"version {found.version}" + (f", one of {found.servers}" if found.servers > 1 else ""),
    }


def _age(found: StatusReply) -> str:
    return format_duration(max(0.0, found.at - (given(found.oldest_at) or 0.0)))


def describe_counts(hour: StatsFigures) -> str:
    """Say what jobs did, without what none did."""
    words = ("submitted", "finished", "failed", "cancelled", "retried", "lost")
    return ", ".join(f"{getattr(hour, word):,} {word}" for word in words if getattr(hour, word)) or "nothing"


def describe_times(times: StatsTimes) -> str | None:
    """Say how long something took; None when nothing did."""
    p50, p99 = given(times.p50_s), given(times.p99_s)
    if p50 is None or p99 is None:
        return None
    return f"half of them {format_duration(p50)} at most, 99 of 100 {format_duration(p99)}"


def show_findings(remote: Remote, findings: Sequence[Finding]) -> None:
    """Show findings, each with what to do."""
    for each in findings:
        remote.display.line(f"{MARKS[each.level]}  {each.check}: {each.text}")
        if given(each.advice):
            remote.display.line(f"          -> {each.advice}")


@click.command
@remote_command
def doctor(remote: Remote) -> None:
    """Look for what is wrong and say what to do.

    It looks at the connection, the token, versions and clocks, at the keys of agents on this machine, and has the
    server look at its settings, database, disk, files, key, workers, queue, stragglers, failures, schedules,
    webhooks, functions and backups. It ends with 1 when something is wrong.
    """
    found = _look(remote)
    if remote.display.as_json:
        remote.display.document([to_document(each) for each in found])
    else:
        show_findings(remote, found)
    if any(each.level == "wrong" for each in found):
        raise Exit(FAILED)


def _look(remote: Remote) -> list[Finding]:
    client = remote.client
    try:
        client.ping()
    except ClientError as error:
        advice = "is the server running there, and is --url or PIECEWORK_URL right?"
        return [Finding(check="connection", level="wrong", text=str(error), advice=advice)]
    found = [Finding(check="connection", level="ok", text=f"{client.url} answers")]
    began = time.time()
    try:
        answer = client.status(everything=True)
    except NotFound:
        advice = "upgrade the server: it is older than this command"
        return [*found, Finding(check="server", level="wrong", text="it cannot tell how it stands", advice=advice)]
    except ApiError as error:
        advice = "give a token of scope view, with --token or PIECEWORK_TOKEN"
        return [*found, Finding(check="token", level="wrong", text=error.message, advice=advice)]
    middle = (began + time.time()) / 2
    found += [_look_at_version(answer), _look_at_clock(answer.at - middle, (time.time() - began) / 2)]
    return [*found, *_look_at_agents(), *answer.findings]


def _look_at_agents() -> list[Finding]:
    """Tell of keys for receipts that agents of this machine cannot use: such an agent does not start."""
    found = []
    for folder in _list_agents():
        try:
            if check_key(folder / KEY_FILE):
                found.append(Finding(check="this agent", level="ok", text=f"its key in {folder} is good"))
        except KeyFileError as error:
            advice = f"the agent of {folder} does not start until then; a new key counts from then on"
            found.append(Finding(check="this agent", level="wrong", text=str(error), advice=advice))
    return found


def _list_agents() -> list[Path]:
    """Return the directories of this user's agents: the one that settings name, else those that agents choose."""
    import platformdirs  # noqa: PLC0415  # slow to import

    section = import_lastingly("piecework.worker_agent.config.configuration").SECTION
    try:
        state = read_environment(section, configure(section, runs_commands=False))["state"]
    except ConfigError:
        return []
    return [state] if state else sorted((platformdirs.user_state_path("piecework") / "agents").glob("*"))


def _look_at_version(answer: StatusReply) -> Finding:
    if answer.version == __version__:
        return Finding(check="this command", level="ok", text=f"it and the server have version {__version__}")
    text = f"it has version {__version__}, the server {answer.version}"
    return Finding(check="this command", level="notice", text=text, advice="upgrade what is older")


def _look_at_clock(ahead_s: float, uncertain_s: float) -> Finding:
    """Tell how far the server's clock is ahead of this machine's."""
    if abs(ahead_s) <= SKEW_S + uncertain_s:
        return Finding(check="this clock", level="ok", text="it shows nearly the server's time")
    way = "behind" if ahead_s > 0 else "ahead of"
    text = f"it is {format_duration(abs(ahead_s))} {way} the server's"
    return Finding(check="this clock", level="notice", text=text, advice="let a time service set both clocks")
