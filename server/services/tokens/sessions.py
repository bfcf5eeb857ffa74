"""Sessions of people who signed in with a token: texts that stand for it, and that servers alone can make.

A session names its token and when it ends, and is signed with a key that lies in the database. So nothing of it is
stored, all servers of this database know it, and it is over when its token is revoked.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.stock import signing_keys
from piecework.server.store.stock.tokens import Token

KEY_FILE = "console.key"
"""Where versions before schema 0035 kept the key, each server its own."""
NAME = "console"
KEY_BYTES = 32
SESSION_MS = 12 * 3600 * 1000
"""Then one signs in again."""


class Sessions:
    """Makes sessions, and reads them."""

    def __init__(self, database: Database, directory: Path) -> None:
        """The database has the key, or gets one when it is needed first; ``directory`` had it before."""
        self._database = database
        self._old_file = directory / KEY_FILE
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
            with self._database.read() as connection:
                found = signing_keys.find_key(connection, NAME)
            self._key = found or self._database.write(self._keep_key, durable=False)
        return self._key

    def _keep_key(self, connection: Connection) -> bytes:
        return signing_keys.keep_key(connection, NAME, self._make_key())

    def _make_key(self) -> bytes:
        """Return a new key; the one of earlier versions, where there is one, so that their sessions go on."""
        with suppress(OSError):
            if len(key := self._old_file.read_bytes()) == KEY_BYTES:
                return key
        return secrets.token_bytes(KEY_BYTES)
