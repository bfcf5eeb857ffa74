"""Functions over HTTP beside a plain Flask view: requests a second, latencies and CPU time, in turns in one run.

The view and the functions of Capsule do the same: they answer with the request that they got. All are under
granian, on one machine with the load, which is wrk's. Results go to ``results/http_functions.json``.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.machine import describe
from harness.tables import Table, describe_machine, number
from harness.usage import cpu_s, end_tree

from piecework.http.ports import find_port

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "http_functions.json"
SAMPLES = HERE.parent / "samples"
VIEW = "flask view"
READY_S = 60.0
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_LATENCY = re.compile(r"^ +(50|99)% +([0-9.]+)(us|ms|s)$", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec: +([0-9.]+)$", re.MULTILINE)
_FAILED = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")
_COUNT = re.compile(r"(\d+) requests in")


def main() -> None:
    """Run all, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds; in each, everybody has a turn")
    parser.add_argument("--seconds", type=int, default=3, help="how long each load lasts")
    parser.add_argument("--connections", type=int, default=16, help="of the load that measures the rate")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("this needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="piecework-http-") as name, contestants(Path(name)) as urls:
        about = describe(Path(name)) | {"connections": options.connections, "seconds": options.seconds}
        rounds = [run_round(urls, options, number) for number in range(options.rounds)]
    results = {"about": about, "rounds": rounds}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(describe_machine(about))
    http_table(results).show()


@contextmanager
def contestants(folder: Path) -> Iterator[dict[str, tuple[str, list[int]]]]:
    """Start all; yield for each its URL and the processes that work for it."""
    flask, g3, g4, proxy = (find_port("127.0.0.1", 0) for _ in range(4))
    command = [sys.executable, "-P", "-c", "from piecework.worker_agent.cli import main; main()"]
    state = ["--state", str(folder / "state")]
    routes = folder / "routes.yaml"
    routes.write_text(f"echo:\n  default:\n    - http://127.0.0.1:{g3}\n")
    proxied = [sys.executable, "-m", "piecework", "server", "proxy", "--port", str(proxy), "--open"]
    commands = [
        [sys.executable, "-P", str(HERE / "peers" / "flask_view.py"), str(flask)],
        [*command, "serve", str(SAMPLES / "capsule_g3.wasm"), "--port", str(g3), *state],
        [*command, "serve", str(SAMPLES / "capsule_g4.wasm"), "--port", str(g4), *state],
        [*proxied, "--data", str(folder / "proxy"), "--config", str(routes)],
    ]
    started = [
        subprocess.Popen(each, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for each in commands
    ]
    pids = [process.pid for process in started]
    urls = {
        VIEW: (f"http://127.0.0.1:{flask}/x", pids[:1]),
        "serve, Capsule 0.3.0": (f"http://127.0.0.1:{g3}/x", pids[1:2]),
        "serve, Capsule 0.3.4": (f"http://127.0.0.1:{g4}/x", pids[2:3]),
        "proxy, then serve": (f"http://127.0.0.1:{proxy}/functions/echo/x", [pids[3], pids[1]]),
    }
    try:
        for url, _ in urls.values():
            wait_until_ready(url)
        yield urls
    finally:
        end_tree(started, 10.0)


def wait_until_ready(url: str) -> None:
    """Wait until a URL answers well."""
    until, pause = time.monotonic() + READY_S, threading.Event()
    while subprocess.run(["curl", "-sf", "-o", "/dev/null", url], check=False).returncode:
        if time.monotonic() > until:
            sys.exit(f"{url} does not answer")
        pause.wait(0.1)


def run_round(
    urls: dict[str, tuple[str, list[int]]], options: argparse.Namespace, number: int
) -> dict[str, dict[str, Any]]:
    """Give everybody a turn, another first each time."""
    names = list(urls)
    order = names[number % len(names) :] + names[: number % len(names)]
    found = {name: measure(*urls[name], options) for name in order}
    return {name: found[name] for name in names}


def measure(url: str, pids: list[int], options: argparse.Namespace) -> dict[str, Any]:
    """Put load on a URL: as much as it takes, and one request after the other."""
    before = cpu_s(pids)
    busy = load(url, options.connections, options.seconds)
    cpu_us = (cpu_s(pids) - before) * 1e6 / max(1, busy["requests"])
    return busy | {"cpu_us": round(cpu_us), "alone": load(url, 1, options.seconds)}


def load(url: str, connections: int, seconds: int) -> dict[str, Any]:
    """Let wrk ask for some time."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = _LATENCY.findall(text)
    rate, count, failed = _RATE.search(text), _COUNT.search(text), _FAILED.search(text)
    return {
        "per_s": round(float(rate[1])) if rate else 0,
        "requests": int(count[1]) if count else 0,
        "failed": failed[0] if failed else "",
        **{f"p{part}_ms": round(float(value) * _UNITS[unit], 3) for part, value, unit in found},
    }


def http_table(results: dict[str, Any]) -> Table:
    """Return the medians over all rounds; ratios are of figures of the same round."""
    rounds, rows = results["rounds"], []
    for name in rounds[0]:
        mine = [each[name] for each in rounds]
        ratio = statistics.median(each[name]["per_s"] / each[VIEW]["per_s"] for each in rounds)
        busy = [statistics.median(each[key] for each in mine) for key in ("per_s", "p50_ms", "p99_ms", "cpu_us")]
        alone = [statistics.median(each["alone"][key] for each in mine) for key in ("p50_ms", "p99_ms")]
        rows.append([name, number(busy[0]), f"{ratio:.0%}", *map(number, [*busy[1:], *alone])])
    columns = ["", "requests/s", "of the view", "p50 ms", "p99 ms", "CPU us", "p50 ms alone", "p99 ms alone"]
    return Table("Functions over HTTP", columns, rows)


if __name__ == "__main__":
    main()
