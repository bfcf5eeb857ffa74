"""A receipt with all its parts, made without server and agent."""

import hashlib
from pathlib import Path

from piecework.protocol.ids import Id
from piecework.protocol.messages.receipts import Envelope, SigningKeyInfo
from piecework.receipts import (
    EngineFacts,
    PrivateKey,
    ReceiptPayload,
    RunClaim,
    RunLimits,
    RunResult,
    RunSubject,
    countersign,
    seal,
    write_payload,
)
from piecework.receipts.canonical import encode_canonical
from piecework.receipts.parts import write_list

WORKER_KEY, SERVER_KEY = PrivateKey(b"w" * 32), PrivateKey(b"s" * 32)
MODULE, INPUT, OUTPUT, GIVEN, MADE = b"\0asm", b"in", b"out", b"a file", b"another"
ARGS, ENV = encode_canonical(["-v"]), encode_canonical({"A": "ö"})
GIVEN_LIST = write_list([("a/b.txt", hashlib.sha256(GIVEN).hexdigest())])
MADE_LIST = write_list([("c", hashlib.sha256(MADE).hexdigest())])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def all_parts() -> dict[str, bytes | Path]:
    parts = (MODULE, INPUT, OUTPUT, GIVEN, MADE, ARGS, ENV, GIVEN_LIST, MADE_LIST)
    return {sha256(part): part for part in parts}


def some_payload() -> ReceiptPayload:
    limits = RunLimits(
        fuel=str(2**60),
        memory_bytes=1,
        stack_bytes=2,
        output_bytes=3,
        files_bytes=4,
        files_count=5,
        open_files=6,
    )
    subject = RunSubject(
        runtime="wasi",
        mode="text",
        profile="deterministic",
        module=sha256(MODULE),
        input=sha256(INPUT),
        args=sha256(ARGS),
        env=sha256(ENV),
        files=sha256(GIVEN_LIST),
        limits=limits,
        seed="5" * 64,
        outputs=["c"],
        ok_codes=[3],
    )
    result = RunResult(
        state="Finished",
        exit_code=3,
        output=sha256(OUTPUT),
        made=sha256(MADE_LIST),
        memory="7" * 64,
        fuel=77,
        comparable=True,
    )
    engine = EngineFacts(
        name="wasmtime", version="50.0.0", strategy="cranelift", opt_level="speed", flags=["consume_fuel"]
    )
    claim = RunClaim(subject=subject, result=result)
    return ReceiptPayload(version=1, job="11", attempt=2, lambda_="12", worker="13", claim=claim, engine=engine)


def some_envelope(payload: bytes | None = None) -> Envelope:
    """Return a receipt with both signatures."""
    return countersign(seal(payload or write_payload(some_payload()), WORKER_KEY), SERVER_KEY)


def both_keys() -> list[SigningKeyInfo]:
    worker = SigningKeyInfo(
        keyid=WORKER_KEY.keyid, owner="worker", id=Id(13), public_key=WORKER_KEY.public_key, first_seen=1.0
    )
    server = SigningKeyInfo(
        keyid=SERVER_KEY.keyid, owner="server", public_key=SERVER_KEY.public_key, first_seen=2.0
    )
    return [worker, server]
