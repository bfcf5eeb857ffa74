"""An OCI registry in this process, which can be told to misbehave."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from piecework.oci.exchange import RegistryAccess
from piecework.oci.manifests import CONFIG, LAYER, OCI_INDEX, OCI_MANIFEST
from piecework.oci.references import Reference


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class FakeRegistry:
    """Keeps blobs and manifests of any repository. ``answers`` has what it says to a method and path instead.

    Such an answer is a status, headers and a body, or a function of the handler.
    """

    def __init__(self):
        self.blobs = {}
        self.manifests = {}
        """Type and content by tag or digest."""
        self.answers = {}
        self.requests = []
        """Methods, paths and headers."""
        self.chunk_bytes = 0
        """With it, uploads come in chunks of that size at least."""
        self.uploads = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.registry = self
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def refer(self, rest="hello:1"):
        return Reference.parse(f"oci://{self.host}/{rest}")

    def access(self, **options):
        return RegistryAccess(**{"environ": {}, "home": Path("/nowhere"), "plain_http": True, **options})

    def put_blob(self, content, media_type=LAYER):
        self.blobs[sha256(content)] = content
        return {"mediaType": media_type, "digest": sha256(content), "size": len(content)}

    def put_manifest(self, tag, document, media_type=OCI_MANIFEST):
        """Store a manifest, or bytes, under a tag and its digest; return what names it."""
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.manifests[tag] = self.manifests[sha256(content)] = (media_type, content)
        return {"mediaType": media_type, "digest": sha256(content), "size": len(content)}

    def put_module(self, tag, *layers):
        """Store a manifest with these layers, which are those of one module as a rule."""
        config = self.put_blob(b"{}", CONFIG)
        return self.put_manifest(
            tag, {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
        )

    def put_index(self, tag, *manifests):
        return self.put_manifest(tag, {"schemaVersion": 2, "manifests": manifests}, OCI_INDEX)

    def lines(self, *methods):
        """What was asked, as ``GET /v2/…``."""
        return [f"{method} {path}" for method, path, _ in self.requests if not methods or method in methods]


class _Server(ThreadingHTTPServer):
    registry: FakeRegistry


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self):
        registry = self.server.registry
        path, _, query = self.path.partition("?")
        registry.requests.append((self.command, self.path, dict(self.headers)))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = registry.answers.get((self.command, path))
        if callable(answer):
            answer = answer(self)
        if answer is not None:
            self.send(*answer)
        elif self.command in {"GET", "HEAD"}:
            self._give(path.rpartition("/")[2], is_blob="/blobs/" in path)
        elif "/manifests/" in path:
            stored = registry.put_manifest(path.rpartition("/")[2], body, self.headers["Content-Type"])
            self.send(201, {"Docker-Content-Digest": stored["digest"]})
        else:
            self._take(path, query, body)

    def _give(self, name, *, is_blob):
        registry = self.server.registry
        kept = ("application/octet-stream", registry.blobs.get(name)) if is_blob else registry.manifests.get(name)
        if kept is None or kept[1] is None:
            error = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            self.send(404, {}, json.dumps(error).encode())
        else:
            self.send(200, {"Content-Type": kept[0], "Docker-Content-Digest": sha256(kept[1])}, kept[1])

    def _take(self, path, query, body):
        registry = self.server.registry
        least = {"OCI-Chunk-Min-Length": str(registry.chunk_bytes)} if registry.chunk_bytes else {}
        if self.command == "POST":
            name = str(len(registry.uploads))
            registry.uploads[name] = []
            self.send(202, {"Location": f"{path}{name}?_state=a%2Fb", **least})
        elif self.command == "PATCH":
            registry.uploads[path.rpartition("/")[2]].append(body)
            self.send(202, {"Location": f"{path}?_state=c"})
        else:
            content = b"".join([*registry.uploads[path.rpartition("/")[2]], body])
            digest = dict(each.split("=") for each in query.split("&"))["digest"]
            if sha256(content) != digest:
                self.send(400, {}, b"")
                return
            registry.blobs[digest] = content
            self.send(201, {"Docker-Content-Digest": digest})

    def send(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            for each in value if isinstance(value, list) else [value]:
                self.send_header(name, each)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass
