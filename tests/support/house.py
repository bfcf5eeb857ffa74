"""A server in one process for tests: services with a clock that tests move, and short ways to use them."""

import hashlib
import itertools
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from hand_clock import START_MS, HandClock
from machine_code import BUILD
from werkzeug.test import TestResponse

from piecework.server.app import wire_app
from piecework.server.services import Services, open_services
from piecework.server.services.schema_at_start import prepare_schema
from piecework.server.settings import Settings
from piecework.server.store.engine.database import open_database
from piecework.server.web.parts import WHOLE, Part

ROOT = Path(__file__).parents[2]


@cache
def migrated_file() -> bytes:
    """Return an empty SQLite database with the program's schema: copying it is quicker than migrating.

    It stays for other processes until what makes it changes.
    """
    sources = sorted([*ROOT.glob("migrations/**/*.py"), *ROOT.glob("server/store/engine/*.py")])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    kept = BUILD / f"empty-{digest}.db"
    if not kept.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            path = Path(folder) / "piecework.db"
            database = open_database(f"sqlite:///{path}", synchronous="OFF")
            prepare_schema(database)
            database.close()
            path.replace(kept)
    return kept.read_bytes()


_free_apps: defaultdict[Part, list[Flask]] = defaultdict(list)
"""Apps of houses that were closed: wiring one takes longer than opening its services."""


def borrow_app(services: Services, part: Part = WHOLE, *, fresh: bool = False) -> Flask:
    """Return an app that answers with these services, perhaps one that others used; ``fresh``: none of those."""
    free = _free_apps[part]
    app = free.pop() if free and not fresh else wire_app(services, part)
    app.extensions["piecework"] = services
    return app


def give_back_app(app: Flask, part: Part = WHOLE) -> None:
    """Let others use an app; the services that it answered with are closed."""
    _free_apps[part].append(app)


@dataclass
class House:
    """A control server without a network: requests go straight into the Flask app."""

    data: Path
    database_url: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    clock: HandClock = field(default_factory=lambda: HandClock(START_MS))
    fresh: bool = False
    """Use an app that has counted no request yet."""
    part: Part = WHOLE
    """What of the server answers."""

    def __post_init__(self) -> None:
        if not self.database_url:
            self.data.mkdir(parents=True, exist_ok=True)
            if not (self.data / "piecework.db").exists():
                (self.data / "piecework.db").write_bytes(migrated_file())
        self.services = self._open()
        self.app = borrow_app(self.services, self.part, fresh=self.fresh)
        # Programs keep no cookies, and to look for them takes a tenth of a request's time.
        self.client: FlaskClient = self.app.test_client(use_cookies=False)
        self._names = itertools.count()

    def _open(self) -> Services:
        plain = {"data": self.data, "database_url": self.database_url, "synchronous": "OFF"}
        return open_services(Settings(**plain | self.settings), self.clock)

    def restart(self) -> None:
        """Stop the server and start it on what it stored."""
        self.services.close()
        self.services = self.app.extensions["piecework"] = self._open()

    def close(self) -> None:
        self.services.close()
        give_back_app(self.app, self.part)

    def call(self, method: str, path: str, body: Any = None, *, status: int | None = 200, **more: Any) -> Any:
        """Send a request and return the decoded answer; the status must be the expected one (None: any)."""
        response = self.client.open(path, method=method, json=body, **more)
        assert status is None or response.status_code == status, (response.status_code, response.data)
        return response.get_json()

    def fetch(self, path: str, **more: Any) -> TestResponse:
        """Get a path and read the answer to its end, so that its file is closed."""
        return self.client.get(path, buffered=True, **more)

    def new_lambda(self, **fields: Any) -> str:
        return str(self.call("POST", "/lambda", {"codex": "0", "runtime": "default"} | fields)["id"])

    def new_worker(self, *runtimes: str, **fields: Any) -> str:
        body = {"runtime": list(runtimes or ["default"]), "name": f"w{next(self._names)}"} | fields
        return str(self.call("POST", "/worker", body)["id"])

    def submit(self, lambda_id: str, **fields: Any) -> str:
        return str(self.call("POST", "/job", {"lambda": lambda_id, "input": {"text": "x"}} | fields)["id"])

    def contract(self, worker: str, **fields: Any) -> Any:
        """Contract up to one job, the extended way, without waiting."""
        return self.call("POST", f"/worker/{worker}/contract", {"max": 1, "timeout": 0} | fields)

    def lease(self, worker: str, **fields: Any) -> dict[str, str]:
        """Contract one job and return its job id and lease."""
        [leased] = self.contract(worker, **fields)["jobs"]
        return {"job": leased["job"], "lease": leased["lease"]}

    def finish(self, worker: str, *outcomes: dict[str, Any], status: int = 200) -> Any:
        return self.call("POST", f"/worker/{worker}/finish", {"outcomes": list(outcomes)}, status=status)

    def state(self, job: str) -> str:
        return str(self.call("GET", f"/job/{job}?except=Finished")["state"])

    def trace(self, job: str) -> list[tuple[str, str]]:
        """Return (state, detail) of each event of a job."""
        return [(event["state"], event["detail"]) for event in self.call("GET", f"/job/{job}/trace")["events"]]

    def move_on(self) -> None:
        """Let the timekeeper look at the clock."""
        self.services.timekeeper.move_on()


def failed(lease: dict[str, str], kind: str = "guest", message: str = "no") -> dict[str, Any]:
    return {**lease, "state": "Fail_Execution", "error": {"kind": kind, "message": message}}


def finished(lease: dict[str, str], text: str = "ok") -> dict[str, Any]:
    return {**lease, "state": "Finished", "output": {"text": text}}
