"""Webhooks of a real server, which dies at the worst moment."""

import sqlite3
import threading
from pathlib import Path

import pytest
from patience import until
from raw_server import RawServer, read_request
from receiver import OK, is_signed, read

from piecework import Client
from piecework.local import LocalServer

pytestmark = pytest.mark.integration

ALLOWED = {"PIECEWORK_WEBHOOK_PRIVATE": "127.0.0.1"}


def test_a_server_that_dies_between_sending_and_noting_sends_again(tmp_path: Path):
    receiver, came, dead = RawServer(), threading.Event(), threading.Event()
    seen: list[bytes] = []

    def take_and_wait(connection: object) -> None:
        seen.append(read_request(connection))
        came.set()
        dead.wait(60)

    receiver.answer(take_and_wait)
    receiver.answer(OK)
    try:
        with LocalServer(tmp_path, environ=ALLOWED) as server:
            with Client(server.url) as client:
                hook = client.create_webhook("hook", receiver.url)
                job = client.submit(client.create_lambda(0, "nobody"), on_end="hook")
                client.cancel(job)
                assert came.wait(60)
            server.kill()
        dead.set()
        with sqlite3.connect(tmp_path / "data" / "piecework.db") as database:
            assert database.execute("SELECT state, attempts FROM deliveries").fetchall() == [("sending", 1)]
            database.execute("UPDATE deliveries SET next_at = next_at - 60000")  # a minute passes
        database.close()
        with LocalServer(tmp_path, environ=ALLOWED) as server, Client(server.url) as client:
            until(lambda: len(list(client.deliveries("hook", state="delivered"))) == 1)
            [delivery] = client.deliveries("hook")
        assert (delivery.attempts, delivery.status) == (2, 204)
        for request in (*seen, *receiver.requests):
            headers, event = read(request)
            assert (headers["webhook-id"], event["data"]["job"]) == (str(delivery.id), str(job))
            assert is_signed(request, str(hook.secret))
    finally:
        dead.set()
        receiver.close()
