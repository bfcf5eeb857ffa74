"""A real OCI registry: Docker's, from Debian's package, open to all, with passwords, or with tokens.

`python tests/support/oci_registry.py` installs it where it is missing and that can be done; `make test` does so.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from patience import until

from piecework.http.ports import find_port

PACKAGE = "docker-registry"
MISSING = f"{PACKAGE} is not here: install Debian's package of that name (make oci-registry does, for root)"
USER, PASSWORD = "somebody", "a-password-that-nobody-prints"
PASSWORD_HASH = "$2b$04$1XgtBtxvfzfvA4MWl02a2.tDtJgidukvF5iHAebLb4YBJCZFXKFFG"
"""That of ``PASSWORD``, as bcrypt has it."""
SERVICE, ISSUER = "the registry of tests", "the token server of tests"


class OciRegistry:
    """A registry on 127.0.0.1 that keeps everything in one folder."""

    def __init__(
        self, folder: Path, auth: dict[str, Any] | None = None, tls: dict[str, str] | None = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        port = find_port("127.0.0.1", 0)
        self.host = f"127.0.0.1:{port}"
        self.auth_file = folder / "auth.json"
        """Login data for it, as Docker keeps them."""
        given = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self.auth_file.write_text(json.dumps({"auths": {self.host: {"auth": given}}}))
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.host, "secret": "of tests"} | ({"tls": tls} if tls else {}),
        }
        (folder / "config.yml").write_text(json.dumps(config | ({"auth": auth} if auth else {})))
        self.log = folder / "log"
        with self.log.open("wb") as log:
            command = [PACKAGE, "serve", str(folder / "config.yml")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, look_s=0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        try:
            urllib.request.urlopen(f"http://{self.host}/v2/", timeout=5)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


class TokenServer:
    """Gives tokens for what was asked to those who know the password, and for pulling to everybody."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._key, self.certificate = make_certificate(folder)
        self.asked: list[dict[str, list[str]]] = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), _TokenHandler)
        server.token_server = self  # type: ignore[attr-defined]
        self._server = server
        self.realm = f"http://127.0.0.1:{server.server_port}/token"
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def auth(self) -> dict[str, Any]:
        """Return what a registry is told that is to take these tokens."""
        told = {
            "realm": self.realm,
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(self.certificate),
        }
        return {"token": told}

    def write_token(self, scopes: list[str], *, knows_password: bool) -> str:
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = [each for each in actions.split(",") if each == "pull" or knows_password]
            access.append({"type": kind, "name": name, "actions": allowed})
        claims = {
            "iss": ISSUER, "sub": USER if knows_password else "", "aud": SERVICE,
            "exp": now + 300, "nbf": now - 60, "iat": now, "jti": str(len(self.asked)), "access": access,
        }  # fmt: skip
        return sign(self._key, self.certificate, claims)


class _TokenHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        tokens: TokenServer = self.server.token_server  # type: ignore[attr-defined]
        query = parse_qs(urlsplit(self.path).query)
        tokens.asked.append(query)
        given = self.headers.get("Authorization", "")
        right = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        if given and given != right:
            self._answer(401, {"details": "incorrect username or password"})
            return
        token = tokens.write_token(query.get("scope", []), knows_password=given == right)
        self._answer(200, {"token": token, "expires_in": 300})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def make_certificate(folder: Path) -> tuple[Any, Path]:
    """Return a key, and the file of a certificate for it."""
    import trustme
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    made = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
    path = folder / "token.pem"
    path.write_bytes(made.cert_chain_pems[0].bytes())
    return load_pem_private_key(made.private_key_pem.bytes(), None), path


def sign(key: Any, certificate: Path, claims: dict[str, Any]) -> str:
    """Return a token (RFC 7519) that names its certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    made = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(made).decode()]}
    signed = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
    return f"{signed}.{_encode(key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def run_registry(
    folder: Path, auth: dict[str, Any] | None = None, tls: dict[str, str] | None = None
) -> Iterator[OciRegistry]:
    """Run a registry. Raises LookupError where there is none."""
    if shutil.which(PACKAGE) is None:
        raise LookupError(MISSING)
    registry = OciRegistry(folder, auth, tls)
    try:
        yield registry
    finally:
        registry.kill()


def write_passwords(folder: Path) -> dict[str, Any]:
    """Return what a registry is told that is to take the user and password above."""
    path = folder / "htpasswd"
    path.write_text(f"{USER}:{PASSWORD_HASH}\n")
    return {"htpasswd": {"realm": "tests", "path": str(path)}}


def install() -> bool:
    """Install the registry where it is missing and that can be done. Returns whether it is there."""
    if shutil.which(PACKAGE) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", PACKAGE], check=False)
    return shutil.which(PACKAGE) is not None


if __name__ == "__main__" and not install():
    sys.stdout.write(f"{MISSING}: tests with a real one are left out\n")
