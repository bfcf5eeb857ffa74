"""A server below HTTP, for what a well-behaved one never does."""

import socket
import threading
from contextlib import suppress

from patience import LONG_S

PONG = b'{"message": "pong"}'


class RawServer:
    """Takes connections one after the other, and plays its script on them.

    A script has an entry for each connection: what it answers to one request after the other. Requests are read
    whole and kept. An entry may also be a function of the connection. After the last one the connection is closed.
    """

    def __init__(self, tls=None):
        self.script = []
        self.requests = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.authority = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.authority}"
        self._closed = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def answer(self, *answers):
        self.script.append(answers)

    def wait_until_closed(self):
        """Wait until it has closed one more connection."""
        assert self._closed.acquire(timeout=LONG_S)

    def close(self):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self):
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(10)
            with suppress(OSError), accepted:
                self._play(self._tls.wrap_socket(accepted, server_side=True) if self._tls else accepted)
            self._closed.release()

    def _play(self, connection):
        with connection:
            for answer in self.script.pop(0):
                if callable(answer):
                    answer(connection)
                elif request := read_request(connection):
                    self.requests.append(request)
                    connection.sendall(answer)


def read_request(connection):
    """Return one request; empty when the client hung up before its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = sum(lengths) - len(body)
    while missing > 0:
        if not (more := connection.recv(65536)):
            return b""
        missing -= len(more)
        data += more
    return data


def http(body=PONG, *headers, status="200 OK", version="1.1", length=True):
    """Return an answer's bytes."""
    lines = [f"HTTP/{version} {status}", "Content-Type: application/json", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def pass_on(target):
    """Return what a proxy does after CONNECT: carry bytes both ways until one side ends."""

    def carry(client):
        read_request(client)
        with socket.create_connection(target, 10) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_copy, args=(server, client))
            back.start()
            _copy(client, server)
            back.join()

    return carry


def _copy(source, target):
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def reset(connection):
    """Hang up so that the other side's next send fails."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
