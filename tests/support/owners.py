"""Workers of several owners who must agree on results, as tests of a house have them."""

import hashlib
from typing import Any

from house import House, finished

from piecework.protocol.messages import WorkerRegister

DIGESTS = {"module": "m" * 64, "input": "i" * 64, "memory": "e" * 64}


def new_worker(house: House, owner: str | None, **fields: Any) -> str:
    """Register a worker with an owner's token."""
    request = WorkerRegister(runtime=["default"], **fields)
    return str(house.services.workers.register(request, owner).id)


def told(lease: dict[str, str], text: str = "right", *, fuel: int = 100) -> dict[str, Any]:
    """Return an outcome of a deterministic run."""
    digests = DIGESTS | {"output": hashlib.sha256(text.encode()).hexdigest()}
    return finished(lease, text) | {"usage": {"fuel": fuel, "digests": digests}}


def verified(house: House, **verify: Any) -> str:
    """Create a lambda with a rule."""
    return house.new_lambda(deterministic=True, verify=verify)


def run(house: House, worker: str, text: str = "right", **more: Any) -> None:
    """Have a worker lease a job and say what it gives."""
    house.finish(worker, told(house.lease(worker), text, **more))


def result(house: House, job: str) -> str:
    """Return the output of a job."""
    found = house.call("GET", f"/job/{job}?view=full")["output"]
    return house.fetch(f"/data/{found['id']}/blob").text


def owner(house: House, name: str) -> tuple[int, int, int]:
    """Return how an owner did: streak, agreed, wrong."""
    [found] = [each for each in house.services.agreement.list_owners() if each.name == name]
    return found.streak, found.agreed, found.wrong


def earn(house: House, lambda_id: str, *workers: str, count: int = 10) -> None:
    """Have workers of two owners give so many results that are alike."""
    for number in range(count):
        job = house.submit(lambda_id, input={"text": f"earn {number}"})
        for worker in workers:
            if house.state(job) == "Enqueued":
                run(house, worker)
        assert house.state(job) == "Finished"
