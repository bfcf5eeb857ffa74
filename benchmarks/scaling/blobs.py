"""Blobs of 1 KB to 100 MB: how fast they go up and down, beside ``cp`` and a plain HTTP file server."""

import http.client
import http.server
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from harness.tables import Table, number

from piecework import Client
from piecework.local import LocalServer

MEASURED_BYTES = 100_000_000
"""Small blobs are moved again and again, until about so much has moved, or REPEATS_MAX times."""
REPEATS_MAX = 100
MB = 1e6


def measure(folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """Move blobs of each size. Every upload is of other bytes: the server stores equal ones once."""
    rows = []
    with LocalServer(folder) as server, Client(server.url) as client, file_server(folder) as address:
        for size in sizes:
            repeats = max(1, min(REPEATS_MAX, MEASURED_BYTES // size))
            sources = [write_noise(folder / f"blob-{number}", size) for number in range(repeats)]
            target = folder / "target"
            ids: list[int] = []
            rows.append(
                {
                    "bytes": size,
                    "up": rate(size, [partial(upload, client, source, ids) for source in sources]),
                    "down": rate(size, [partial(client.download, blob, target) for blob in ids]),
                    "cp": rate(size, [partial(copy, source, target) for source in sources]),
                    "file_server": rate(size, [partial(fetch, address, source, target) for source in sources]),
                }
            )
            for source in sources:
                source.unlink()
    return rows


def upload(client: Client, source: Path, ids: list[int]) -> None:
    """Upload a file and note its blob."""
    ids.append(int(client.upload(source).id))


def rate(size: int, moves: list[Callable[[], object]]) -> float:
    """Make the moves and return how many bytes moved in a second."""
    began = time.perf_counter()
    for move in moves:
        move()
    return size * len(moves) / (time.perf_counter() - began)


def copy(source: Path, target: Path) -> None:
    """Copy a file with cp, and see it on disk as an upload's answer promises."""
    subprocess.run(["cp", str(source), str(target)], check=True)
    with target.open("rb+") as file:
        os.fdatasync(file.fileno())


def fetch(address: tuple[str, int], source: Path, target: Path) -> None:
    """Download a file from the plain server."""
    connection = http.client.HTTPConnection(*address)
    connection.request("GET", f"/{source.name}")
    with target.open("wb") as file:
        shutil.copyfileobj(connection.getresponse(), file)
    connection.close()


@contextmanager
def file_server(folder: Path) -> Iterator[tuple[str, int]]:
    """Serve a folder with Python's own file server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ("127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()


def write_noise(path: Path, size: int) -> Path:
    """Write random bytes."""
    path.write_bytes(os.urandom(size))
    return path


def table(rows: list[dict[str, Any]]) -> Table:
    """One row for each size."""
    columns = ["blob", "upload MB/s", "download MB/s", "cp with flush MB/s", "file server, download MB/s"]
    names = ("up", "down", "cp", "file_server")
    return Table(
        "Blobs, one after the other",
        columns,
        [[size_name(row["bytes"]), *(number(row[name] / MB) for name in names)] for row in rows],
    )


def size_name(size: int) -> str:
    """Show a round number of bytes."""
    for unit, factor in (("MB", 1_000_000), ("KB", 1_000)):
        if size >= factor:
            return f"{size // factor} {unit}"
    return f"{size} bytes"
