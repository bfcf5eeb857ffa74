"""The reverse proxy of Capsule with its memory backend: routes in a dictionary, its answers, its status 500."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class CapsuleProxy:
    """Knows nothing of aliases, unless ``aliases`` is a dictionary for them.

    ``requests`` has the method and path of each change that was asked for.
    """

    def __init__(self):
        self.routes = {}
        self.requests = []
        self.aliases = None
        self.broken = False
        self._server = None
        self.port = 0
        self.open()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def open(self):
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.daemon_threads = True
        self._server.proxy = self
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method, path, body):
        """Return status and answer."""
        words = path.strip("/").split("/")
        if self.broken:
            return 500, {"code": "ERROR", "message": "out of order"}
        if self.aliases is not None and method == "PUT" and words[::2] == ["deployments", "default"]:
            self.aliases[words[1]] = body["revision"]
            return 200, {"code": 0, "status": "ok", "name": words[1], "created_at": 0.0, "revisions": []}
        if words[:2] != ["memory", "functions"]:
            return 404, {"code": "PAGE_NOT_FOUND", "message": "😢 Page not found 🥵"}
        if method == "GET":
            return 200, self.routes
        self.requests.append((method, path))
        try:
            return 202, {"code": "OK", "message": self.change(method, words[2:], body)}
        except KeyError as error:
            return 500, {"code": error.args[0], "message": "no"}

    def change(self, method, words, body):
        if words == ["registration"]:
            return self.change_function(method, **body)
        revisions = self.find(self.routes, words[0], "ERROR_FUNCTION_NOT_FOUND")
        if words[1:] == ["revision"]:
            return self.change_revision(method, revisions, **body)
        urls = self.find(revisions, words[1], "ERROR_REVISION_NOT_FOUND")
        if method == "POST":
            urls.append(body["url"])
            return "URL added to the revision"
        urls.remove(body["url"])
        return "URL removed from the revision"

    def change_function(self, method, function, revision=None, url=None):
        if method == "DELETE":
            self.find(self.routes, function, "ERROR_FUNCTION_NOT_FOUND")
            del self.routes[function]
            return "Function removed"
        if function in self.routes:
            raise KeyError("ERROR_FUNCTION_ALREADY_EXISTS")
        self.routes[function] = {revision: [url]}
        return "Function created"

    def change_revision(self, method, revisions, revision, url=None):
        if method == "DELETE" and revision == "default" and self.aliases:
            self.aliases.clear()
            return "Revision removed from the function"
        if method == "DELETE":
            self.find(revisions, revision, "ERROR_REVISION_NOT_FOUND")
            del revisions[revision]
            return "Revision removed from the function"
        if revision in revisions:
            raise KeyError("ERROR_REVISION_ALREADY_EXISTS")
        revisions[revision] = [url]
        return "Revision added to the function"

    def find(self, known, name, code):
        if name not in known:
            raise KeyError(code)
        return known[name]


class _Server(ThreadingHTTPServer):
    proxy: "CapsuleProxy"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, found = self.server.proxy.answer(self.command, self.path, json.loads(body or b"{}"))
        data = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def log_message(self, *_):
        pass
