"""Receipts: signed statements that a result is what some code makes of some input, and bundles to check them with.

Nothing here needs a server. What it takes to read a receipt without this package is told in ``docs/receipts.md``.
"""

from piecework.receipts.bundle import Bundle, write_bundle
from piecework.receipts.envelope import (
    CheckedReceipt,
    countersign,
    read_envelope,
    read_receipt,
    seal,
    verify_receipt,
    write_envelope,
)
from piecework.receipts.errors import KeyFileError, ReceiptError
from piecework.receipts.keys import KeyRing, PrivateKey, key_id, open_key, read_keys
from piecework.receipts.payload import (
    EngineFacts,
    ReceiptPayload,
    RunClaim,
    RunLimits,
    RunResult,
    RunSubject,
    read_payload,
    result_digest,
    subject_digest,
    write_payload,
)

__all__ = [
    "Bundle",
    "CheckedReceipt",
    "EngineFacts",
    "KeyFileError",
    "KeyRing",
    "PrivateKey",
    "ReceiptError",
    "ReceiptPayload",
    "RunClaim",
    "RunLimits",
    "RunResult",
    "RunSubject",
    "countersign",
    "key_id",
    "open_key",
    "read_envelope",
    "read_keys",
    "read_payload",
    "read_receipt",
    "result_digest",
    "seal",
    "subject_digest",
    "verify_receipt",
    "write_bundle",
    "write_envelope",
    "write_payload",
]
