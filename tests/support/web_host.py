"""A web server for downloads: what it shall answer to a path, and what it was asked."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebHost:
    """Answers each path with what ``pages`` has: bytes, (status, headers, bytes), or a function of the handler."""

    def __init__(self):
        self.pages = {}
        self.requests = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.host = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    host: WebHost


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self):
        self.server.host.requests.append((self.path, dict(self.headers)))
        page = self.server.host.pages.get(self.path, (404, {}, b"<html>nothing here</html>"))
        if callable(page):
            page(self)
            return
        status, headers, body = page if isinstance(page, tuple) else (200, {}, page)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
