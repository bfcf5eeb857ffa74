"""The second part of the demo: a picture of the Mandelbrot set, rendered as tiles and put together here."""

import hashlib
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from piecework import Client
from piecework.client import JobResult
from piecework.demo.progress import Watch
from piecework.demo.words import CheckError
from piecework.protocol.ids import Id

WIDTH, HEIGHT = 1024, 768
TILE = 128
CENTRE_RE, CENTRE_IM, SPAN, LIMIT = -0.7453, 0.1127, 0.0065, 1500
"""Seahorse valley: a part of the plane SPAN wide, with at most LIMIT iterations for a point."""
BYTES_PER_PIXEL = 3
PIXELS_SHA256 = "b555a4e248e68a8e1097860f265763fe20d05a2890a32626f2216503837162f9"
"""WebAssembly computes the same picture on every machine, bit for bit."""


@dataclass(frozen=True)
class Tile:
    """A part of the picture, in pixels from its upper left corner."""

    x: int
    y: int

    def question(self) -> bytes:
        """What the guest reads."""
        return f"{self.x} {self.y} {TILE} {TILE}\n".encode()


def tiles() -> list[Tile]:
    """Return the parts, row by row."""
    return [Tile(x, y) for y in range(0, HEIGHT, TILE) for x in range(0, WIDTH, TILE)]


def render(client: Client, guests: dict[str, bytes], watch: Watch, target: Path) -> list[JobResult]:
    """Render the picture into ``target`` (PNG), one job per tile. Raises CheckError when it is another one."""
    view = [str(value) for value in (WIDTH, HEIGHT, CENTRE_RE, CENTRE_IM, SPAN, LIMIT)]
    lambda_id = client.create_lambda(guests["mandelbrot_tile"], name="mandelbrot_tile", args=view, reuse=True)
    ids = client.submit_many(lambda_id, [tile.question() for tile in tiles()])
    places: dict[Id, Tile] = dict(zip(ids, tiles(), strict=True))
    pixels = bytearray(WIDTH * HEIGHT * BYTES_PER_PIXEL)
    results = []
    for job, result in watch(f"{len(ids)} tiles", ids):
        paste(pixels, places[job], result.read())
        results.append(result)
    target.write_bytes(encode_png(bytes(pixels)))
    if hashlib.sha256(pixels).hexdigest() != PIXELS_SHA256:
        raise CheckError(f"{target} is not the picture that it should be")
    return results


def paste(pixels: bytearray, tile: Tile, part: bytes) -> None:
    """Put a tile's pixels into the picture. Raises CheckError when it has not the right number of them."""
    row_bytes = TILE * BYTES_PER_PIXEL
    if len(part) != TILE * row_bytes:
        raise CheckError(f"tile {tile} has {len(part)} bytes instead of {TILE * row_bytes}")
    for row in range(TILE):
        start = ((tile.y + row) * WIDTH + tile.x) * BYTES_PER_PIXEL
        pixels[start : start + row_bytes] = part[row * row_bytes : (row + 1) * row_bytes]


def encode_png(pixels: bytes) -> bytes:
    """Write RGB pixels as a PNG file (W3C PNG specification, sections 5 and 11)."""
    row_bytes = WIDTH * BYTES_PER_PIXEL
    # Each row starts with the number of its filter; 0 is none.
    rows = b"".join(b"\0" + pixels[at : at + row_bytes] for at in range(0, len(pixels), row_bytes))
    eight_bit_rgb = (8, 2, 0, 0, 0)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, *eight_bit_rgb)
    chunks = [_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows, 9)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
