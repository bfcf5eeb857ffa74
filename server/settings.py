"""The server's settings: defaults here, then files, then PIECEWORK_… variables, then command-line options."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, cast, get_args

from piecework.http.addresses import is_loopback, read_networks
from piecework.http.urls import check_url
from piecework.protocol.messages import Limits
from piecework.protocol.retention import FOR_EVER_MS, retain_ms
from piecework.text.durations import parse_retention

PREFIX = "PIECEWORK_"
MIB = 1024 * 1024
LOG_FORMATS = ("console", "json")
DATABASES = ("postgresql:", "postgresql+psycopg:", "postgres:", "sqlite:")
"""How URLs of databases begin."""
_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}
DATABASE_NAME = "piecework.db"
BLOBS_NAME = "blobs"
DIRECTORY = "directory"
"""Large blobs are kept in the data directory."""
_STEP = r"(?!\.\.?(?:/|$))[A-Za-z0-9._-]+"
S3 = re.compile(rf"s3://([a-zA-Z0-9][a-zA-Z0-9._-]{{1,61}}[a-zA-Z0-9])(?:/({_STEP}(?:/{_STEP})*))?/?")
Kept = Literal[
    "finished", "failed", "cancelled", "uploads", "workers", "events", "deliveries", "audit", "memos", "calls"
]
"""What stays for a time: jobs by how they ended, unused uploads, silent workers, events, deliveries, acts."""
Migrate = Literal["auto", "expand", "never"]
SharedBy = Literal["jobs", "fuel"]
"""What tenants have equal shares of: the number of jobs, or what they cost."""
KEPT_LEAST_MS = {
    "uploads": 600_000,
    "workers": 3_600_000,
    "events": 60_000,
    "deliveries": 172_800_000,
    "audit": 86_400_000,
}
"""An upload needs time to be named, a worker to be heard of again, an event to be read, a delivery to be made."""
FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def read_setting(text: str, default: object) -> Any:
    """Return a text as a value of the default's kind. Raises ValueError."""
    if not isinstance(default, bool):
        return type(cast("Any", default))(text)
    if text.lower() not in FLAGS:
        raise ValueError(text)
    return FLAGS[text.lower()]


def split_list(text: str) -> list[str]:
    """Return what stands between commas."""
    return [each.strip() for each in text.split(",") if each.strip()]


class SettingsError(ValueError):
    """Some settings have values that cannot be used; ``args`` has one line for each."""

    def __str__(self) -> str:
        return "; ".join(self.args)


class BlobPlace(NamedTuple):
    """A place for large blobs in S3."""

    bucket: str
    prefix: str
    """Empty, or ending in ``/``."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the place that ``s3://BUCKET/PREFIX`` names; None for another text."""
        found = S3.fullmatch(text)
        return cls(found[1], f"{found[2]}/" if found[2] else "") if found else None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one server runs. Every field is read from PIECEWORK_<NAME IN CAPITALS>."""

    host: str = "127.0.0.1"
    """Address to listen on, or a name for it. Another than loopback needs a token to exist."""
    port: int = 8000
    """Port to listen on."""
    data: Path = Path("piecework-data")
    """Directory of the SQLite file and of large blobs."""
    blobs: str = DIRECTORY
    """Where large blobs are kept: `directory` for the data directory, or `s3://BUCKET/PREFIX`."""
    blobs_from: str = ""
    """Where large blobs were kept before, `directory` or `s3://…`: they are found there, too, until moved."""
    blobs_direct: bool = False
    """Whether agents may get blobs from S3, and put them there, by themselves, by URLs that the server signs."""
    s3_virtual_hosts: bool = False
    """Whether S3 has the bucket's name in the host's name; false: in the path."""
    database_url: str = field(default="", repr=False)
    """`postgresql://…`, or empty for SQLite in the data directory."""
    migrate: Migrate = "auto"
    """What a server may do to an older schema at its start: `auto`, migrate SQLite; `expand`, run what servers of
    the older schema can work beside, on PostgreSQL, too; `never`, nothing, not even in an empty database."""
    synchronous: str = "FULL"
    """SQLite's synchronous setting. FULL: an acknowledged write survives a power cut."""
    lease_s: float = 15.0
    """How long a lease holds without renewal, seconds."""
    legacy_lease_s: float = 600.0
    """How long a lease of a v0.5 client holds once it showed that it lives, seconds."""
    vanished_max: int = 3
    """Attempts of a job that may end with a vanished worker before it fails for good."""
    max_attempts: int = 3
    """Attempts of a job that does not say how many."""
    timeout_s: float = 300.0
    """Wall time of an attempt that does not say how long, seconds."""
    memory_bytes: int = 256 * MIB
    """Memory of a guest that does not say how much, bytes."""
    output_bytes: int = 64 * MIB
    """Output of a guest that does not say how much, bytes."""
    log_bytes: int = 64 * 1024
    """Kept log of an attempt that does not say how much, bytes."""
    log_max_bytes: int = MIB
    """Kept log of an attempt at most, whatever a job asks for, bytes."""
    retain_finished: str = "7d"
    """How long a finished job stays that does not say: a duration, `0` until it was read, or `never` removed."""
    retain_failed: str = "30d"
    """The same for a failed job."""
    retain_cancelled: str = "30d"
    """The same for a cancelled job."""
    retain_uploads: str = "7d"
    """How long an upload stays that nothing uses: a duration, or `never` removed."""
    retain_workers: str = "30d"
    """How long a worker stays known that was not heard of: a duration, or `never` removed."""
    retain_events: str = "7d"
    """How long events stay in the feed: a duration, or `never` removed but for their number."""
    retain_deliveries: str = "7d"
    """How long it is known what webhooks were told, and is told them at all: a duration, or `never` removed."""
    retain_audit: str = "90d"
    """How long it is known who did what: a duration, or `never` removed but for their number."""
    trusted_owners: str = ""
    """Names of tokens with commas between: results of workers that registered with one are taken as they are."""
    retain_memos: str = "30d"
    """How long a result is kept for equal jobs since it was last used: a duration, or `never` removed."""
    retain_calls: str = "30d"
    """How long a recorded call of a function is kept: a duration, or `never` removed."""
    recorded_calls_max: int = 1000
    """So many recorded calls are kept of a revision: the newest."""
    recorded_calls_max_bytes: int = 64 * MIB
    """So much they may take, bytes; the oldest go first."""
    webhook_private: str = ""
    """Addresses and networks with commas between, such as `10.0.0.5,192.168.0.0/16`, that webhooks may lead to
    although they are not public; `*` for all."""
    log_format: str = "console"
    """`console` for people, `json` for programs: one object a line."""
    otel_endpoint: str = ""
    """Where traces are sent by OTLP over HTTP, such as `http://127.0.0.1:4318`; empty: there are none."""
    poll_max_s: float = 25.0
    """A contract is answered before this many seconds."""
    wait_max_s: float = 300.0
    """A wait for a job's state is answered before this many seconds."""
    waiters_max: int = 10_000
    """Requests that may wait at once; another one takes the place of the one that waits longest."""
    listeners_max: int = 200
    """Readers of the feed that may wait at once; another one takes the place of the one that waits longest."""
    request_threads: int = 64
    """Threads for requests that do not wait, or have not waited for long."""
    tenants_share: str = "jobs"
    """What tenants take turns by: `jobs`, of which each goes as often, or the `fuel` that these usually burn."""
    memo_check: float = 0.01
    """The share of jobs answered with a memo that are run all the same, to compare their results; 0: none."""
    body_max_bytes: int = 64 * MIB
    """Largest JSON or MessagePack body, bytes."""
    blob_max_bytes: int = 16 * 1024 * MIB
    """Largest blob, bytes."""
    module_max_bytes: int = 256 * MIB
    """Largest module that the registry takes, bytes."""
    mutable_tags: bool = False
    """Whether an upload to the registry may replace a module under a tag that is taken."""
    routes_file: str = ""
    """YAML file with routes of functions, read at the start; empty for none."""
    underscore_headers: bool = False
    """Whether headers with `_` in their names are kept. CGI takes it for `-`: they can pass for a proxy's own."""
    console_acts: bool = False
    """Whether the pages at `/console` may also change things while the server has no token."""
    functions_open: bool = False
    """Whether everybody may call functions, also without a token and from pages of other sites."""
    calls_max: int = 512
    """Calls of functions that one server passes on at once; more get 503."""
    call_timeout_s: float = 300.0
    """A call of a function fails when nothing of its answer comes for so long, seconds."""
    call_body_max_bytes: int = 16 * 1024 * MIB
    """Largest body of a call that is passed on, bytes."""
    inline_max_bytes: int = 32 * 1024
    """Blobs up to this size are kept in the database, larger ones in the blob store, bytes."""
    answer_inline_max_bytes: int = MIB
    """Outputs up to this size are put into answers that ask for them, bytes."""
    bulk_max: int = 10_000
    """Jobs that one request may submit."""
    contract_max: int = 1000
    """Jobs that one contract may lease."""
    page_max: int = 1000
    """Rows of one page of a list."""
    value_max_bytes: int = MIB
    """Largest value under a key of a namespace, bytes of UTF-8."""
    events_max: int = 2_000_000
    """Events of jobs that the feed keeps, about: the oldest go first."""
    keys_max: int = 10_000
    """Keys of a namespace that one answer lists."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> dict[str, Any]:
        """Return the settings that ``environ`` has, ready for the constructor.

        Raises SettingsError that names every variable with an unusable value.
        """
        found: dict[str, Any] = {}
        wrong: list[str] = []
        for each in fields(cls):
            name = PREFIX + each.name.upper()
            text = environ.get(name)
            if not text:
                continue
            try:
                found[each.name] = read_setting(text, each.default)
            except ValueError:
                wrong.append(f"{name}={text!r} is not {_KINDS[type(each.default)]}")
        if wrong:
            raise SettingsError(*wrong)
        return found

    def __post_init__(self) -> None:
        wrong = [
            f"{each.name} is {getattr(self, each.name)}, but must be above 0"
            for each in fields(self)
            if type(each.default) in {int, float} and each.name != "port" and getattr(self, each.name) <= 0
        ]
        if not 0 <= self.port <= 65535:
            wrong.append(f"port is {self.port}, but must lie between 0 and 65535")
        wrong += filter(None, map(self._find_fault, get_args(Kept)))
        wrong += [
            f"{name} is {given!r}, but must be {', '.join(others)} or {last}"
            for name, given, (*others, last) in (
                ("log_format", self.log_format, LOG_FORMATS),
                ("synchronous", self.synchronous.upper(), ("FULL", "EXTRA", "NORMAL", "OFF")),
                ("migrate", self.migrate, get_args(Migrate)),
                ("tenants_share", self.tenants_share, get_args(SharedBy)),
            )
            if given not in {*others, last}
        ]
        if self.database_url and not self.database_url.startswith(DATABASES):
            wrong.append(
                "database_url does not begin with postgresql://"
            )  # it may have a password: it is not shown
        wrong += [
            f"{name} is {place!r}, but must be {DIRECTORY} or s3://BUCKET/PREFIX"
            for name, place in {"blobs": self.blobs, "blobs_from": self.blobs_from or DIRECTORY}.items()
            if place != DIRECTORY and BlobPlace.read(place) is None
        ]
        if self.blobs_from == self.blobs:
            wrong.append(f"blobs_from is {self.blobs}, as blobs is: leave it out")
        if self.blobs_direct and self.blobs == DIRECTORY:
            wrong.append("blobs_direct is true, but large blobs are not in S3")
        try:
            if self.otel_endpoint:
                check_url(self.otel_endpoint)
        except ValueError as error:
            wrong.append(f"otel_endpoint: {error}")
        wrong += [
            f"webhook_private names {entry!r}, which is no address, no network and not *"
            for entry in split_list(self.webhook_private)
            if entry != "*" and not read_networks([entry])
        ]
        if wrong:
            raise SettingsError(*wrong)

    def _find_fault(self, what: Kept) -> str | None:
        """Return what is wrong with how long something stays."""
        try:
            kept_ms = self.keep_ms(what)
        except ValueError as error:
            return f"retain_{what} is wrong: {error}"
        least_ms = KEPT_LEAST_MS.get(what, 0)
        if FOR_EVER_MS < kept_ms < least_ms:
            return (
                f"retain_{what} is {getattr(self, f'retain_{what}')}, but must be at least {least_ms // 60_000}m"
            )
        return None

    def keep_ms(self, what: Kept) -> int:
        """Return how long something stays that does not say, milliseconds; 0: until it was read; -1: for ever."""
        return retain_ms(parse_retention(getattr(self, f"retain_{what}")))

    @cached_property
    def trusted(self) -> frozenset[str | None]:
        """Names of tokens whose workers are trusted."""
        return frozenset(split_list(self.trusted_owners))

    @property
    def url(self) -> str:
        """The database's URL, with the SQLite file's path when none was given."""
        return self.database_url or f"sqlite:///{self.database_file}"

    @property
    def database_file(self) -> Path:
        """The SQLite file, which is used when there is no ``database_url``."""
        return self.data.absolute() / DATABASE_NAME

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def default_limits(self) -> Limits:
        """What an attempt may use when neither its job nor its lambda says."""
        return Limits(
            timeout_s=self.timeout_s,
            memory_bytes=self.memory_bytes,
            output_bytes=self.output_bytes,
            log_bytes=self.log_bytes,
        )
