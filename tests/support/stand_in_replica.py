"""A program that takes the options of ``worker-agent serve`` and keeps its promises, but runs no function.

The function's variable ``STAND_IN`` says how it misbehaves: ``exit`` ends at once with a last word, ``deaf`` never
gets healthy, ``stubborn`` does not end when it is told to. ``POST /become/deaf`` makes a running one sick, ``POST
/log`` logs its body; whatever else is asked is answered with the function's variable ``MESSAGE``.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PR_SET_PDEATHSIG = 1


def parse(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--env-file")
    parser.add_argument("--die-with-parent", action="store_true")
    return parser.parse_known_args(words)[0]


class Server(ThreadingHTTPServer):
    env: dict
    calls: int
    deaf: bool
    token: str


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            self.answer(503 if self.server.deaf else 200, "OK")
        elif self.server.token and self.headers["Piecework-Replica-Token"] != self.server.token:
            self.answer(401, "no token")
        elif self.path == "/stats":
            self.answer(200, json.dumps({"calls": self.server.calls, "errors": 0, "p50_ms": 1.5, "p99_ms": 2.5}))
        else:
            self.server.calls += 1
            self.answer(200, self.server.env.get("MESSAGE", ""))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/become/deaf":
            self.server.deaf = True
        elif self.path == "/log":
            sys.stdout.write(f"{body}\n")
            sys.stdout.flush()
        self.answer(200, str(os.getpid()))

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def main():
    options = parse(sys.argv[1:])
    if options.die_with_parent:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    env = json.load(sys.stdin) if options.env_file == "-" else {}
    assert options.file.read_bytes()[:4] == b"\0asm"
    role = env.get("STAND_IN")
    if role == "exit":
        sys.exit("Error: the module loops")
    server = Server((options.host, options.port), Handler)
    server.env, server.calls, server.deaf = env, 0, role == "deaf"
    server.token = os.environ.get("PIECEWORK_SERVE_TOKEN", "")
    if role == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.01)


if __name__ == "__main__":
    main()
