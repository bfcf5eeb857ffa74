"""The variables that our programs read, and those that look as if one of them should."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

PREFIX = "PIECEWORK_"
ALIKE = 0.75
_KUBERNETES = re.compile(r"(.*_)?(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_(TCP|UDP)(_.*)?)")
"""What Kubernetes puts into the environment of every program beside a service named piecework."""
_SHARED = ("OTEL_ENDPOINT", "URL", "TOKEN", "TOKEN_FILE", "CA", "PROFILE", "CONFIG", "SERVE_TOKEN", "LANGUAGES")
SERVER_NAMES = (
    "HOST", "PORT", "DATA", "DATABASE_URL", "SYNCHRONOUS", "LEASE_S", "LEGACY_LEASE_S", "VANISHED_MAX",
    "MAX_ATTEMPTS", "TIMEOUT_S", "MEMORY_BYTES", "OUTPUT_BYTES", "LOG_BYTES", "LOG_MAX_BYTES", "POLL_MAX_S",
    "WAIT_MAX_S", "WAITERS_MAX", "LISTENERS_MAX", "REQUEST_THREADS", "BODY_MAX_BYTES", "BLOB_MAX_BYTES",
    "MODULE_MAX_BYTES", "MUTABLE_TAGS",
    "ROUTES_FILE", "FUNCTIONS_OPEN", "CALLS_MAX", "CALL_TIMEOUT_S", "CALL_BODY_MAX_BYTES",
    "INLINE_MAX_BYTES", "ANSWER_INLINE_MAX_BYTES", "BULK_MAX", "CONTRACT_MAX", "PAGE_MAX", "UNDERSCORE_HEADERS",
    "KEYS_MAX", "VALUE_MAX_BYTES", "RETAIN_FINISHED", "RETAIN_FAILED", "RETAIN_CANCELLED", "RETAIN_UPLOADS",
    "RETAIN_WORKERS", "RETAIN_EVENTS", "RETAIN_DELIVERIES", "EVENTS_MAX", "WEBHOOK_PRIVATE", "CONSOLE_ACTS",
    "RETAIN_AUDIT", "RETAIN_CALLS", "RECORDED_CALLS_MAX", "RECORDED_CALLS_MAX_BYTES",
    "RETAIN_MEMOS", "MEMO_CHECK", "TENANTS_SHARE", "TRUSTED_OWNERS", "LOG_FORMAT", "BLOBS", "BLOBS_FROM",
    "BLOBS_DIRECT", "S3_VIRTUAL_HOSTS", "MIGRATE",
)  # fmt: skip
AGENT_NAMES = (
    "STATE", "SLOTS", "RUNTIMES", "INTERPRETERS", "TAGS", "NAME", "CACHE_MB", "DRAIN_TIMEOUT_S",
    "COMPILE_TIMEOUT_S", "COMPILE_MEMORY_MB", "ENGINE", "PREFETCH", "EXIT_WHEN_IDLE_S",
    "LOG_FORMAT", "LOG_LEVEL", "METRICS_PORT", "METRICS_HOST", "WAIT", "STALL_EXIT_S", "FUNCTIONS",
    "FUNCTIONS_HOST", "FUNCTIONS_PORT",
    "FUNCTIONS_FIRST_PORT", "FUNCTIONS_TOKEN", "FUNCTIONS_OPEN", "FUNCTIONS_START_TIMEOUT_S", "REVERSE_PROXY",
    "REVERSE_PROXY_TOKEN", "REGISTRY", "ALLOW_HTTP", "ALLOW_REDIS", "ALLOW_COUCHBASE", "ALLOW_FILES", "ALLOW_DIR",
    "ALLOW_ENV",
)  # fmt: skip
KNOWN = frozenset({*_SHARED, *SERVER_NAMES, *(f"WORKER_{name}" for name in AGENT_NAMES)})
"""The names behind the prefix, of all programs: they often run with one environment."""


def find_unknown(environ: Mapping[str, str]) -> list[str]:
    """Return a line about each variable that none of our programs reads, with the one that may be meant.

    It is told and not refused: another version of the program may know it.
    """
    names = sorted(name.removeprefix(PREFIX) for name in environ if name.startswith(PREFIX))
    return [_describe(name) for name in names if name not in KNOWN and not _KUBERNETES.fullmatch(name)]


def _describe(name: str) -> str:
    near = [f"WORKER_{name}"] if f"WORKER_{name}" in KNOWN else get_close_matches(name, KNOWN, 1, ALIKE)
    hint = f": did you mean {PREFIX}{near[0]}?" if near else ""
    return f"{PREFIX}{name} is no variable of Piecework{hint}"
