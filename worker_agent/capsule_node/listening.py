"""The HTTP server of the node's API: waitress, on threads of this process."""

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

from waitress.server import create_server
from waitress.wasyncore import close_all

from piecework.worker_agent.errors import AgentError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

THREADS = 16
"""Requests at a time; a deployment takes as long as its function needs to start."""
BODY_MAX_BYTES = 2 * 1024 * 1024
HEAD_MAX_BYTES = 64 * 1024


class Listener:
    """Answers requests until it is stopped."""

    def __init__(self, app: "WSGIApplication", host: str, port: int) -> None:
        """Take the port; connections wait until ``start``. Raises AgentError when the port cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise AgentError(f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}") from error
        self._channels: dict[int, Any] = {}
        self.port = int(listener.getsockname()[1])
        self._server = create_server(
            app,
            map=self._channels,
            sockets=[listener],
            threads=THREADS,
            ident=None,
            max_request_body_size=BODY_MAX_BYTES,
            max_request_header_size=HEAD_MAX_BYTES,
            clear_untrusted_proxy_headers=True,
        )
        self._thread = threading.Thread(target=self._server.run, name="functions-api", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Wait for the requests that are under way, take no more, and close all connections."""
        self._server.task_dispatcher.shutdown(timeout=timeout_s)
        self._server.trigger.pull_trigger(lambda: close_all(self._channels))
        self._thread.join(timeout_s)
