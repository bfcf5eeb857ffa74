"""Ed25519 keys: making them, keeping them in a file, signing and checking."""

import base64
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from piecework.protocol.bodies import BodyDecodeError, MessageError, decode
from piecework.protocol.messages.receipts import KEY_BYTES, SigningKeyInfo
from piecework.receipts.errors import KeyFileError, ReceiptError

if TYPE_CHECKING:
    from nacl.signing import SigningKey

KEY_FILE = "receipts.key"
"""In the directory of an agent, and in the data directory of a server."""
FIRST_WORD = "piecework-ed25519"
"""How a file with a private key begins."""
FILE_MAX_BYTES = 200
KEYS_MAX_BYTES = 64 * 1024 * 1024
"""The largest file with public keys that is read."""


def key_id(public_key: bytes) -> str:
    """Return what names a public key in signatures."""
    return hashlib.sha256(public_key).hexdigest()[:32]


class PrivateKey:
    """A key that signs. It is loaded for its first signature: nacl takes a moment, and few sign."""

    def __init__(self, seed: bytes) -> None:
        """Make the key of a seed of 32 random bytes."""
        self._seed = seed
        self._signer: SigningKey | None = None
        self._public_key = b""
        self._keyid = ""

    @classmethod
    def new(cls) -> "PrivateKey":
        """Return a key that nobody has."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def __repr__(self) -> str:
        return "PrivateKey(…)"

    @property
    def public_key(self) -> bytes:
        """What its signatures are checked with, 32 bytes."""
        if not self._public_key:
            self._public_key = bytes(self._load().verify_key)
        return self._public_key

    @property
    def keyid(self) -> str:
        """What names the key in signatures."""
        if not self._keyid:
            self._keyid = key_id(self.public_key)
        return self._keyid

    def sign(self, message: bytes) -> bytes:
        """Return a signature, 64 bytes. Any thread may ask."""
        return bytes(self._load().sign(message).signature)

    def _load(self) -> "SigningKey":
        if self._signer is None:
            from nacl.signing import SigningKey  # noqa: PLC0415  # who does not sign does not load it

            self._signer = SigningKey(self._seed)
        return self._signer


def open_key(path: Path) -> PrivateKey:
    """Return the key in a file, which is made if there is none: whole, and readable for its owner alone.

    Of several that make it at once one does, and all get that one's. Raises KeyFileError.
    """
    try:
        found = _read_key(path)
        return _make_key(path) if found is None else found
    except OSError as error:
        raise KeyFileError(f"cannot use the key file {path}: {error.strerror}") from error


def _read_key(path: Path) -> PrivateKey | None:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise KeyFileError(f"others can read the key file {path}: run chmod 600 on it, or remove it")
            data = file.read(FILE_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    word, _, text = data.decode(errors="replace").strip().partition(" ")
    try:
        seed = base64.b64decode(text, validate=True)
    except ValueError:
        seed = b""
    if word != FIRST_WORD or len(seed) != KEY_BYTES:
        raise KeyFileError(f"the key file {path} is damaged: bring it back, or remove it, and a new key is made")
    return PrivateKey(seed)


def check_key(path: Path) -> bool:
    """Return whether there is a key in a file. Raises KeyFileError when it cannot be used, with what to do."""
    try:
        return _read_key(path) is not None
    except OSError as error:
        raise KeyFileError(f"cannot use the key file {path}: {error.strerror}") from error


def _make_key(path: Path) -> PrivateKey:
    seed = secrets.token_bytes(KEY_BYTES)
    handle, draft = tempfile.mkstemp(prefix=".key-", dir=path.parent)  # for its owner alone
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(f"{FIRST_WORD} {base64.b64encode(seed).decode()}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename it leaves a key alone that somebody made meanwhile
    except FileExistsError:
        found = _read_key(path)
        if found is None:
            raise KeyFileError(f"the key file {path} went while it was read") from None
        return found
    finally:
        Path(draft).unlink()
    _sync_folder(path.parent)
    return PrivateKey(seed)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_proof(incarnation: str) -> bytes:
    """Return what a worker signs to show, when it registers, that it has the private part of its key."""
    return f"piecework worker key\n{incarnation}".encode()


def prove_key(key: PrivateKey, incarnation: str) -> bytes:
    """Return the proof that a process has a key, 64 bytes."""
    return key.sign(write_proof(incarnation))


class KeyRing:
    """Public keys, by the names that signatures give them."""

    def __init__(self, keys: Iterable[SigningKeyInfo]) -> None:
        """Take in keys. Raises ReceiptError for one that is not called as it must be."""
        self._keys: dict[str, list[SigningKeyInfo]] = {}
        for key in keys:
            if key.keyid != key_id(key.public_key):
                raise ReceiptError(
                    f"the key {key.keyid} is damaged: these bytes are called {key_id(key.public_key)}"
                )
            self._keys.setdefault(key.keyid, []).append(key)

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))

    def find(self, keyid: str) -> list[SigningKeyInfo]:
        """Return what is known of a key: there is an entry for each that had it; most have one of their own."""
        return self._keys.get(keyid, [])

    def list_keys(self) -> list[SigningKeyInfo]:
        """Return all of them, in the order in which they came."""
        return [key for known in self._keys.values() for key in known]


def is_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature of a message was made with a key's private part."""
    from nacl.exceptions import BadSignatureError  # noqa: PLC0415  # few check
    from nacl.signing import VerifyKey  # noqa: PLC0415

    try:
        VerifyKey(public_key).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


class _KeyFile(msgspec.Struct):
    """What ``GET /keys`` answers, as far as it matters here."""

    keys: list[SigningKeyInfo]


def read_keys(data: bytes, what: str) -> KeyRing:
    """Return the keys in a text as ``GET /keys`` answers it. Raises ReceiptError."""
    if len(data) > KEYS_MAX_BYTES:
        raise ReceiptError(f"{what} has more than {KEYS_MAX_BYTES} bytes: these are no keys")
    try:
        return KeyRing(decode(data, _KeyFile).keys)
    except (BodyDecodeError, MessageError) as error:
        raise ReceiptError(f"{what} cannot be read: {error}") from error


def name_owner(key: SigningKeyInfo) -> str:
    """Return whose key it is, for people."""
    return f"worker {key.id}" if key.owner == "worker" else "a server"
