"""Requests written byte by byte, for what no HTTP library sends."""

import socket

from patience import LONG_S


def say(port: int, text: bytes, *, hang_up: bool = False) -> tuple[int, bytes]:
    """Send bytes to a server on this machine, then nothing more; return status and body of its answer.

    ``hang_up``: close that half of the connection. Status 0: there was no answer.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=LONG_S) as connection:
        connection.sendall(text)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """Return a request after which the server closes the connection."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end
