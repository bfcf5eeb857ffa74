"""A plain Flask view under the server settings that functions are served with: ``python flask_view.py PORT``."""

import sys

from flask import Flask, request

from piecework.http.serving import ListenOptions, serve_app

THREADS = 32


def load() -> Flask:
    """Make the app: one view that answers with what it was asked, as the function it is compared with."""
    app = Flask(__name__)

    @app.route("/<path:path>", methods=["GET", "POST"])
    def echo(path: str) -> tuple[str, dict[str, str]]:
        headers = "³".join(f"{name}:{value}" for name, value in request.headers)
        body = f"{request.method}\n/{path}\n{headers}\n{request.get_data(as_text=True)}"
        return body, {"Content-Type": "text/plain; charset=utf-8", "X-Time": "12:30"}

    return app


if __name__ == "__main__":
    serve_app(
        ListenOptions(
            host="127.0.0.1", port=int(sys.argv[1]), threads=THREADS, connections=1024, stop_timeout_s=2
        ),
        load(),
    )
