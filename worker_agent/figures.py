"""Figures of one agent for Prometheus, over a port of its own: what runs, what came of it, what it takes."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

import structlog

from piecework.worker_agent.errors import AgentError

log = structlog.get_logger()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_S = 5.0
"""A request that takes longer to arrive is not answered: there is one thread for all."""
PAGE_BYTES = 4096
"""What a page of memory has where that is not told."""
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


Values = dict[tuple[tuple[str, str], ...], float]
"""Numbers by their labels."""


class Figure(NamedTuple):
    """One figure, as it is now."""

    name: str
    kind: str
    """counter or gauge."""
    text: str
    values: Values
    """By labels."""


Read = Callable[[], list[Figure]]


def plain(name: str, kind: str, text: str, value: float) -> Figure:
    """Return a figure without labels."""
    return Figure(name, kind, text, {(): float(value)})


@dataclass(frozen=True, kw_only=True)
class AgentFigures:
    """What an agent tells of itself."""

    ended: Mapping[tuple[str, str], int]
    """How many leases ended, by runtime and how."""
    leases: int
    slots: int
    is_connected: bool
    cache_bytes: int
    cache_limit_bytes: int
    memory_bytes: int
    guests_bytes: int

    @classmethod
    def every(cls) -> list[Figure]:
        """Return each figure once, of an agent that has nothing to do."""
        none = {
            "leases": 0,
            "slots": 0,
            "cache_bytes": 0,
            "cache_limit_bytes": 0,
            "memory_bytes": 0,
            "guests_bytes": 0,
        }
        return cls(ended={("wasi", "finished"): 0}, is_connected=False, **none).write()

    def write(self) -> list[Figure]:
        """Return them one by one."""
        ended: Values = {
            (("runtime", runtime or "unknown"), ("outcome", outcome)): float(count)
            for (runtime, outcome), count in sorted(self.ended.items())
        }
        memory: Values = {
            (("of", "agent"),): float(self.memory_bytes),
            (("of", "guests"),): float(self.guests_bytes),
        }
        return [
            Figure(
                "piecework_agent_leases_ended_total", "counter", "Leases that ended on this node, by how.", ended
            ),
            plain("piecework_agent_leases", "gauge", "Leases that are held, of jobs that wait too.", self.leases),
            plain("piecework_agent_slots", "gauge", "Jobs that run at once.", self.slots),
            plain("piecework_agent_connected", "gauge", "1: the server answered last.", self.is_connected),
            plain("piecework_agent_cache_bytes", "gauge", "What cached code and inputs take.", self.cache_bytes),
            plain("piecework_agent_cache_limit_bytes", "gauge", "What they may take.", self.cache_limit_bytes),
            Figure("piecework_agent_memory_bytes", "gauge", "Memory of the agent, and of its guests.", memory),
        ]


def write_figures(figures: list[Figure]) -> str:
    """Return figures as Prometheus reads them."""
    lines = []
    for each in figures:
        lines += [f"# HELP {each.name} {each.text}", f"# TYPE {each.name} {each.kind}"]
        for labels, value in each.values.items():
            pairs = ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in labels)
            lines.append(f"{each.name}{{{pairs}}} {value!r}" if pairs else f"{each.name} {value!r}")
    return "\n".join(lines) + "\n"


def measure_memory() -> tuple[int, int]:
    """Return how much memory this process and its guest processes take, bytes; 0 where that is not told."""
    own, children = _read_resident(Path("/proc/self/statm")), 0
    for pid in _list_children():
        children += _read_resident(Path(f"/proc/{pid}/statm"))
    return own, children


def _list_children() -> Iterator[str]:
    for tasks in Path("/proc/self/task").glob("*/children"):
        try:
            yield from tasks.read_text().split()
        except OSError:
            continue


def _read_resident(place: Path) -> int:
    try:
        return int(place.read_text().split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


class FiguresServer:
    """Answers ``GET /metrics`` and ``GET /healthz`` from a thread of its own."""

    def __init__(self, host: str, port: int, read: Read) -> None:
        """Listen. Raises AgentError when that is not possible."""
        try:
            self._server = HTTPServer((host, port), _make_handler(read))
        except (OSError, OverflowError) as error:
            raise AgentError(f"cannot listen on {host} port {port} for figures: {error}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="figures", daemon=True)

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        log.info("figures are told", host=self._server.server_address[0], port=self.port)

    def stop(self) -> None:
        """Answer no more. Safe to repeat."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def _make_handler(read: Read) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers one request."""

        timeout = REQUEST_S

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, write_figures(read()), CONTENT_TYPE)
            elif path == "/healthz":
                self._answer(200, "alive\n", "text/plain; charset=utf-8")
            else:
                self._answer(404, "there are /metrics and /healthz\n", "text/plain; charset=utf-8")

        def _answer(self, status: int, text: str, content_type: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a request each few seconds is no news."""

    return Handler
