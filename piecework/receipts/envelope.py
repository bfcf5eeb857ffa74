"""Envelopes of DSSE, version 1: bytes with signatures of several."""

import base64
from typing import NamedTuple

import msgspec

from piecework.protocol.messages.receipts import (
    PAYLOAD_MAX_BYTES,
    RECEIPT_TYPE,
    SIGNATURE_BYTES,
    SIGNATURES_MAX,
    Envelope,
    EnvelopeSignature,
    KeyOwner,
    SigningKeyInfo,
)
from piecework.receipts.errors import ReceiptError
from piecework.receipts.keys import KeyRing, PrivateKey, is_signature, name_owner
from piecework.receipts.payload import ReceiptPayload, read_payload

ENVELOPE_MAX_BYTES = 256 * 1024
"""The largest text of an envelope that is read."""


def encode_pae(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed of a payload: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, key: PrivateKey) -> Envelope:
    """Return the envelope of a receipt's payload, with its first signature."""
    signature = EnvelopeSignature(keyid=key.keyid, sig=key.sign(encode_pae(RECEIPT_TYPE, payload)))
    return Envelope(payload_type=RECEIPT_TYPE, payload=payload, signatures=[signature])


def countersign(envelope: Envelope, key: PrivateKey) -> Envelope:
    """Return the envelope with one more signature, of the same bytes."""
    sig = key.sign(encode_pae(envelope.payload_type, envelope.payload))
    own = EnvelopeSignature(keyid=key.keyid, sig=sig)
    return msgspec.structs.replace(envelope, signatures=[*envelope.signatures, own])


def write_envelope(envelope: Envelope) -> bytes:
    """Return an envelope as JSON: always the same bytes for the same content."""
    return msgspec.json.encode(envelope, order="sorted")


class _SignatureText(msgspec.Struct):
    keyid: str
    sig: str


class _EnvelopeText(msgspec.Struct, rename={"payload_type": "payloadType"}):
    payload_type: str
    payload: str
    signatures: list[_SignatureText]


_decoder = msgspec.json.Decoder(_EnvelopeText)


def read_envelope(data: bytes, what: str = "the receipt") -> Envelope:
    """Return the envelope in a JSON text; nobody has looked at its signatures. Raises ReceiptError."""
    if len(data) > ENVELOPE_MAX_BYTES:
        raise ReceiptError(f"{what} has {len(data)} bytes; at most {ENVELOPE_MAX_BYTES} are read")
    try:
        text = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReceiptError(f"{what} cannot be read: {error}") from error
    if not 1 <= len(text.signatures) <= SIGNATURES_MAX:
        raise ReceiptError(f"{what} has {len(text.signatures)} signatures; it must have 1 to {SIGNATURES_MAX}")
    signatures = [
        EnvelopeSignature(
            keyid=each.keyid, sig=_read_base64(each.sig, f"signature {n} of {what}", SIGNATURE_BYTES)
        )
        for n, each in enumerate(text.signatures, 1)
    ]
    payload = _read_base64(text.payload, f"the payload of {what}")
    return Envelope(payload_type=text.payload_type, payload=payload, signatures=signatures)


def _read_base64(text: str, what: str, size: int | None = None) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ReceiptError(f"{what} is no base64: {error}") from error
    if base64.b64encode(data).decode() != text:  # bits that no reader looks at
        raise ReceiptError(f"{what} is no base64: its last characters say more than its bytes")
    if size is not None and len(data) != size:
        raise ReceiptError(f"{what} has {len(data)} bytes instead of {size}")
    return data


def read_receipt(envelope: Envelope) -> ReceiptPayload:
    """Return what an envelope says; nobody has looked at its signatures. Raises ReceiptError."""
    if envelope.payload_type != RECEIPT_TYPE:
        raise ReceiptError(
            f"payloadType is {envelope.payload_type[:100]!r}, and that of a receipt {RECEIPT_TYPE!r}"
        )
    if len(envelope.payload) > PAYLOAD_MAX_BYTES:
        raise ReceiptError(f"the payload has {len(envelope.payload)} bytes; at most {PAYLOAD_MAX_BYTES} are read")
    return read_payload(envelope.payload)


class CheckedReceipt(NamedTuple):
    """A receipt whose signatures are good."""

    payload: ReceiptPayload
    signers: list[SigningKeyInfo]
    """The keys of the signatures, in their order: the worker's, then the server's."""


def verify_receipt(envelope: Envelope, keys: KeyRing) -> CheckedReceipt:
    """Check a receipt: who signed it, with which keys, and what it says.

    The first signature must be its worker's, the second a server's, and every other one that of a known key.
    Raises ReceiptError that names the signature, the field or the byte.
    """
    payload = read_receipt(envelope)
    message = encode_pae(envelope.payload_type, envelope.payload)
    signers = []
    for n, signature in enumerate(envelope.signatures, 1):
        wanted: KeyOwner | None = {1: "worker", 2: "server"}.get(n)  # type: ignore[assignment]
        key = _find_key(keys, signature.keyid, n, wanted, payload.worker)
        if not is_signature(key.public_key, message, signature.sig):
            raise ReceiptError(
                f"signature {n} is wrong: the key {key.keyid} of {name_owner(key)} did not sign these bytes"
            )
        signers.append(key)
    if len(signers) < 2:
        raise ReceiptError("the server's signature is missing: no server has accepted this result")
    return CheckedReceipt(payload, signers)


def _find_key(keys: KeyRing, keyid: str, n: int, wanted: KeyOwner | None, worker: str) -> SigningKeyInfo:
    known = keys.find(keyid)
    if not known:
        raise ReceiptError(
            f"signature {n} is of the key {keyid[:40]}, which is none of the {len(keys)} known keys"
        )
    fitting = [key for key in known if wanted is None or key.owner == wanted]
    if wanted == "worker":
        fitting = [key for key in fitting if str(key.id) == worker]
    if not fitting:
        owners = " and ".join(map(name_owner, known))
        must = f"worker {worker}" if wanted == "worker" else "a server"
        raise ReceiptError(f"signature {n} is of a key of {owners}, and must be of {must}")
    return fitting[0]
