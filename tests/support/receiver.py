"""Somebody who has a webhook: what tests do with webhooks of a house, and how they read what comes."""

import json
from datetime import UTC, datetime
from typing import Any

from house import House
from raw_server import http
from standardwebhooks import Webhook as Verifier

OK = http(b"", status="204 No Content", length=False)


def register(house: House, url: str, name: str = "hook") -> str:
    """Register a webhook and return its secret."""
    return str(house.call("POST", "/webhook", {"name": name, "url": url})["secret"])


def send(house: House) -> int:
    """Send all that is due, in this thread. Returns how many deliveries were taken, but for those after others."""
    sender = house.services.sender
    sender._spawn = lambda work: work()
    return sum(iter(sender.turn, 0))


def deliveries(house: House, name: str = "hook", query: str = "") -> list[dict[str, Any]]:
    """Return the deliveries of a webhook, newest first."""
    found: list[dict[str, Any]] = house.call("GET", f"/webhook/{name}/deliveries?{query}")["deliveries"]
    return found


def read(request: bytes) -> tuple[dict[str, str], Any]:
    """Return the headers of a request, by names in lower case, and what its body says."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    return {name.lower(): value for name, _, value in lines}, json.loads(body)


def is_signed(request: bytes, secret: str) -> bool:
    """Tell whether the standard's own library signs a request in the same way, at the time that it tells."""
    headers, _ = read(request)
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    body = request.partition(b"\r\n\r\n")[2].decode()
    return Verifier(secret).sign(headers["webhook-id"], at, body) in headers["webhook-signature"].split(" ")
