"""Receipts as they travel, and the public keys that they are checked with."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Reply, Shown

RECEIPT_TYPE = "application/vnd.piecework.receipt+json"
"""The ``payloadType`` of a receipt's envelope."""
KEY_BYTES, SIGNATURE_BYTES = 32, 64
"""Of Ed25519."""
PAYLOAD_MAX_BYTES = 64 * 1024
SIGNATURES_MAX = 16

KeyId = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
"""The first 32 hex digits of the SHA-256 of a public key."""
PublicKey = Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
"""An Ed25519 public key; base64 in JSON."""
KeyOwner = Literal["worker", "server"]


SignatureBytes = Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
"""An Ed25519 signature; base64 in JSON."""


class EnvelopeSignature(Shown, msgspec.Struct, kw_only=True, frozen=True):
    """One signature of an envelope."""

    keyid: KeyId
    """Which key made it."""
    sig: SignatureBytes
    """The Ed25519 signature of the envelope's PAE, base64 in JSON."""


class Envelope(Shown, msgspec.Struct, kw_only=True, frozen=True, rename={"payload_type": "payloadType"}):
    """Signed bytes: an envelope of DSSE, version 1."""

    payload_type: str
    """What the payload is: ``application/vnd.piecework.receipt+json``."""
    payload: Annotated[bytes, Meta(max_length=PAYLOAD_MAX_BYTES)]
    """The bytes that are signed, base64 in JSON."""
    signatures: Annotated[list[EnvelopeSignature], Meta(min_length=1, max_length=SIGNATURES_MAX)]
    """The worker's first, then the server's."""


class ReceiptReply(Reply, kw_only=True, rename={"payload_type": "payloadType"}):
    """The answer of ``GET /job/{id}/receipt``: an envelope, which can be kept as it is."""

    payload_type: str
    """As in the envelope."""
    payload: bytes
    """As in the envelope."""
    signatures: list[EnvelopeSignature]
    """As in the envelope."""


class SigningKeyInfo(Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A public key, and whose it is."""

    keyid: KeyId
    """The first 32 hex digits of the SHA-256 of the key."""
    owner: KeyOwner
    """What signs with it."""
    id: Maybe[Id] = UNSET
    """Of a worker's key: the worker."""
    public_key: PublicKey
    """The Ed25519 public key, base64 in JSON."""
    first_seen: float
    """Seconds since 1970: when the server heard of it first."""
    replaced_at: Maybe[float] = UNSET
    """When its owner had another one; what it signed before still counts."""


class SigningKeyList(Reply, kw_only=True):
    """The answer of ``GET /keys``: newest first."""

    keys: list[SigningKeyInfo]
    """The keys."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""
