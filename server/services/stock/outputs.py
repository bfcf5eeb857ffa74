"""Which files jobs give back, as their lambda or they themselves say."""

from piecework.protocol.job_files import PATH_RULE, PATTERNS_MAX, is_pattern
from piecework.protocol.matching import RuntimeName
from piecework.protocol.messages import Maybe, given
from piecework.server.errors import InvalidRequest

FOLDERLESS = frozenset({"capsule", "funless"})
"""Runtimes whose guests have no directory of their own."""
SHOWN_CHARS = 200


def read_outputs(patterns: Maybe[list[str] | None]) -> tuple[str, ...] | None:
    """Return the patterns of files that jobs give back, in order; None when nothing is said of them.

    Raises InvalidRequest.
    """
    listed = given(patterns)
    if listed is None:
        return None
    if len(listed) > PATTERNS_MAX:
        raise InvalidRequest(f"`outputs` has {len(listed)} patterns; at most {PATTERNS_MAX} are taken")
    for pattern in listed:
        if not is_pattern(pattern):
            raise InvalidRequest(f"`outputs` has the pattern {pattern[:SHOWN_CHARS]!r}: {PATH_RULE}")
    return tuple(sorted({*listed}))


def check_has_folders(runtime: str) -> None:
    """Raise InvalidRequest unless guests of a runtime can have a directory of their own."""
    base = RuntimeName.parse(runtime).base
    if base in FOLDERLESS:
        raise InvalidRequest(f"jobs of the runtime {base} have no files: leave `files` and `outputs` out")
