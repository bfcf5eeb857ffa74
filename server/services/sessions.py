"""Sessions of people who signed in with a token: texts that stand for it, and that this server alone can make.

A session names its token and when it ends, and is signed with a key that lies in the data directory. So nothing
of it is stored, all servers with this directory know it, and it is over when its token is revoked.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from piecework.server.store.stock.tokens import Token

KEY_FILE = "console.key"
KEY_BYTES = 32
SESSION_MS = 12 * 3600 * 1000
"""Then one signs in again."""


class Sessions:
    """Makes sessions, and reads them."""

    def __init__(self, directory: Path) -> None:
        """``directory`` has the key, or gets one when the first session is made."""
        self._directory = directory
        self._key = b""

    def seal(self, token: Token, sha256: bytes, now: int) -> str:
        """Return a session of a token that begins now; ``sha256`` is of the token's secret."""
        text = f"{token.id}.{now + SESSION_MS}"
        return f"{text}.{self.sign(sha256.hex(), text)}"

    def find(self, session: str, live: Mapping[bytes, Token], now: int) -> Token | None:
        """Return the token of a session, of those by the SHA-256 of their secrets; None: it is over."""
        text, _, signature = session.rpartition(".")
        id_, _, end = text.partition(".")
        if not (id_.isdecimal() and end.isdecimal()) or not now < int(end):
            return None
        for sha256, token in live.items():
            if str(token.id) == id_ and hmac.compare_digest(self.sign(sha256.hex(), text), signature):
                return token
        return None

    def sign(self, purpose: str, text: str) -> str:
        """Return the signature of a text for a purpose."""
        return hmac.new(self._read_key(), f"{purpose}\n{text}".encode(), hashlib.sha256).hexdigest()

    def _read_key(self) -> bytes:
        if not self._key:
            path = self._directory / KEY_FILE
            if not path.exists():
                _make_key(path)
            self._key = path.read_bytes()
        return self._key


def _make_key(path: Path) -> None:
    """Write a new key, whole or not at all; the one of another server that did so at the same time stays."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
