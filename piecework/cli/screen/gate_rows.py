"""What gates found, as fields to show."""

from collections.abc import Callable

from msgspec import UNSET, UnsetType

from piecework.cli.screen.figures import format_bytes
from piecework.protocol.messages import GateEvidence, given
from piecework.receipts.gates import find_rise


def describe_evidence(found: GateEvidence) -> dict[str, object]:
    """Return what came of a gate as fields to show."""
    return {
        "gate": f"{'passed' if found.passed else 'not passed'} ({found.policy})",
        "why": "; ".join(found.why) or None,
        "calls of": given(found.function) or found.old,
        "compared": found.compared,
        "identical": found.identical,
        "ask the outside for something else": found.calls or None,
        "fail now, or otherwise": found.failures or None,
        "fail no more": found.recoveries or None,
        "other exit code": found.exit_codes or None,
        "other HTTP status": found.statuses or None,
        "other output": found.outputs or None,
        "other files": found.files or None,
        "nothing follows": found.unclear or None,
        "not replayed": found.skipped or None,
        "fuel": _describe_change(given(found.fuel_then), given(found.fuel_now), "{:,}".format),
        "memory": _describe_change(given(found.memory_then), given(found.memory_now), format_bytes),
        "under": found.engine,
        **list_findings(found),
    }


def list_findings(found: GateEvidence | UnsetType) -> dict[str, str]:
    """Return the findings as fields to show."""
    if isinstance(found, UnsetType):
        return {}
    what = "job" if found.function is UNSET else "call"
    return {f"{what} {each.job}": f"{each.kind}: {each.message}" for each in found.findings}


def summarize(found: GateEvidence) -> str:
    """Say in a line what came of a gate."""
    passed = "passed" if found.passed else f"not passed ({'; '.join(found.why)})"
    whose = given(found.function) or f"lambda {found.old}"
    return f"{passed}: {found.identical} of {found.compared} calls of {whose} came to the same"


def _describe_change(then: int | None, now: int | None, show: Callable[[int], str]) -> str | None:
    if then is None or now is None:
        return None
    return f"{find_rise(then, now):+.1f} % ({show(then)} then, {show(now)} now)"
