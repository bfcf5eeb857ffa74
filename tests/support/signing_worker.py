"""A worker of tests that signs receipts as an agent does, and can be made to lie."""

import base64
import hashlib
import io
from typing import Any

import msgspec
from house import House

from piecework.protocol import bodies
from piecework.protocol.messages import (
    ContractReply,
    Digests,
    Envelope,
    FinishReply,
    FinishRequest,
    Outcome,
    SigningKeyList,
    Usage,
)
from piecework.protocol.messages.content import Content
from piecework.protocol.states import JobState
from piecework.receipts import EngineFacts, KeyRing, PrivateKey, ReceiptPayload, read_receipt, seal, write_payload
from piecework.receipts.keys import prove_key
from piecework.worker_agent.jobs.work.inputs import choose_seed
from piecework.worker_agent.jobs.work.receipts import ReceiptMaker, draft_receipt
from piecework.worker_agent.tasks import LeasedTask, Task

ENGINE = EngineFacts(name="wasmtime", version="0", strategy="cranelift", opt_level="speed")
RUNTIME = "demo"
"""That no server looks into."""
MODULE = b"\0asm\1\0\0\0"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def deterministic_lambda(house: House, **fields: Any) -> str:
    uploaded = house.client.post("/data", data={"file": (io.BytesIO(MODULE), "module.wasm")}).get_json()
    return house.new_lambda(codex=uploaded["id"], runtime=RUNTIME, **fields)


class SigningWorker:
    """A registered worker with a key."""

    def __init__(self, house: House, key: PrivateKey | None = None, **fields: Any) -> None:
        self.house, self.key = house, key or PrivateKey.new()
        self.id = str(self.register(**fields)["id"])

    def register(self, *, status: int = 200, **fields: Any) -> Any:
        body = {"runtime": [RUNTIME], "incarnation": "i", **proof_of(self.key, "i")} | fields
        body = {name: value for name, value in body.items() if value is not None}
        return self.house.call("POST", "/worker", body, status=status)

    def lease(self) -> tuple[ContractReply, Any, Any]:
        """Contract one job; return the reply, the job and its lambda."""
        told = self.house.contract(self.id, tags=["files", "inputs"], inline_max_bytes=1000, incarnation="i")
        reply = bodies.decode(msgspec.json.encode(told), ContractReply)
        return reply, reply.jobs[0], reply.lambdas[0]

    def work(self, output: bytes = b"out", **changes: Any) -> Outcome:
        """Lease a job and return the outcome of running it, with its receipt."""
        _, job, lambda_ = self.lease()
        task = Task(runtime="default", codex="", checksum="")
        leased = LeasedTask(job.job, job.lease, task, draft_receipt(job, lambda_, choose_seed(job, lambda_)))
        digests = Digests(
            module=lambda_.codex_checksum, input=job.input_checksum, output=sha256(output), memory="5" * 64
        )
        outcome = Outcome(
            job=job.job,
            lease=job.lease,
            state=JobState.FINISHED,
            output=Content(raw=output),
            usage=Usage(wall_s=0.1, fuel=77, digests=digests),
        )
        for name, value in changes.items():
            setattr(outcome, name, value)
        maker = ReceiptMaker(self.key, lambda: int(self.id), lambda _: ENGINE)
        outcome.receipt = maker.sign(leased, outcome)
        return outcome

    def hand_in(self, *outcomes: Outcome, status: int = 200) -> FinishReply:
        body = bodies.encode(FinishRequest(outcomes=list(outcomes)))
        response = self.house.client.post(f"/worker/{self.id}/finish", data=body, content_type="application/json")
        assert response.status_code == status, response.data
        return bodies.decode(response.data, FinishReply)

    def edit(self, outcome: Outcome, change: Any) -> Outcome:
        """Have the receipt say something else, and sign that."""
        payload = msgspec.to_builtins(read_receipt(outcome.receipt))
        change(payload)
        outcome.receipt = seal(write_payload(msgspec.convert(payload, ReceiptPayload)), self.key)
        return outcome


def proof_of(key: PrivateKey, incarnation: str) -> dict[str, str]:
    """Return what a worker registers with."""
    return {
        "public_key": base64.b64encode(key.public_key).decode(),
        "key_proof": base64.b64encode(prove_key(key, incarnation)).decode(),
    }


def receipt_of(house: House, job: str) -> Envelope:
    return bodies.decode(house.fetch(f"/job/{job}/receipt").data, Envelope)


def keys_of(house: House) -> KeyRing:
    return KeyRing(bodies.decode(house.fetch("/keys").data, SigningKeyList).keys)
