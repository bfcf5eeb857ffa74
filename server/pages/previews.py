"""What a page shows of bytes that strangers wrote: text, JSON, a table, an image, or hexadecimal digits.

Nothing of them is run: a text is text, and an image is one only by its first bytes, whatever somebody calls it.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from piecework.server.errors import BlobNotFound
from piecework.server.services import Services
from piecework.server.store.records import Blob

Form = Literal["text", "json", "table", "image", "hex", "empty", "gone"]

SHOWN_BYTES = 64 * 1024
HEX_BYTES = 2048
ROW_BYTES = 16
TABLE_ROWS, TABLE_COLUMNS, CELL_CHARS = 100, 30, 200
NODES_MAX, DEPTH_MAX = 400, 12
IMAGE_MAX_BYTES = 16 * 1024 * 1024
IMAGES: tuple[tuple[bytes, bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", b"", "image/png"),
    (b"\xff\xd8\xff", b"", "image/jpeg"),
    (b"GIF87a", b"", "image/gif"),
    (b"GIF89a", b"", "image/gif"),
    (b"RIFF", b"WEBP", "image/webp"),
)
"""How images begin, what comes at byte 8, and what they are. None that can have a script."""
_BREAKS = str.maketrans("", "", "\n\t")
"""What a text has beside characters that are printed: a form sends these back, too."""


@dataclass
class Preview:
    """Some bytes as a page shows them."""

    form: Form
    id: int = 0
    size: int = 0
    name: str = ""
    text: str = ""
    pretty: str = ""
    """The text with line breaks, where it is a large JSON value."""
    rows: Sequence[Sequence[str]] = ()
    tree: Any = None
    """A JSON value, when it has few parts."""
    is_cut: bool = False
    """There is more than is shown."""
    editable: bool = False
    """All of it is text that a form sends back as it is."""
    others: list[str] = field(default_factory=list)
    """As what else it can be shown."""


def preview(services: Services, id_: int | None, wanted: str = "") -> Preview | None:
    """Return what is shown of a blob, as ``text`` or ``hex`` if that is wanted; None when there is no blob."""
    if not id_:
        return None
    try:
        blob = services.data.get(id_)
        content = read_begin(services, blob, SHOWN_BYTES)
    except BlobNotFound:
        return Preview("gone", id_)
    found = show_bytes(content, blob.size, blob.name or "", wanted)
    found.id, found.size, found.name = id_, blob.size, blob.name or ""
    found.others = [each for each in ("text", "hex") if each != found.form and found.form not in {"empty", "gone"}]
    return found


def read_begin(services: Services, blob: Blob, most: int) -> bytes:
    """Return the first bytes of a blob. Raises BlobNotFound."""
    source = services.data.open(blob, 0, min(most, blob.size))
    if isinstance(source, bytes):
        return source
    with source:
        return b"".join(source)


def find_image(content: bytes) -> str | None:
    """Return the media type of an image by its first bytes; None when they are of none that is shown."""
    for begin, later, type_ in IMAGES:
        if content.startswith(begin) and content[8 : 8 + len(later)] == later:
            return type_
    return None


def show_bytes(content: bytes, size: int, name: str = "", wanted: str = "") -> Preview:
    """Return what is shown of bytes that are so many in all. Without a blob, images are hexadecimal digits."""
    if not size:
        return Preview("empty")
    is_cut = len(content) < size
    if wanted == "text":
        return Preview("text", text=content.decode(errors="replace"), is_cut=is_cut)
    if wanted == "hex":
        return _show_hex(content, size)
    if find_image(content) and size <= IMAGE_MAX_BYTES:
        return Preview("image")
    text = _read_text(content, is_cut=is_cut)
    if text is None:
        return _show_hex(content, size)
    found = (None if is_cut else _show_json(text)) or _show_table(text, name) or Preview("text")
    found.text, found.is_cut = text, found.is_cut or is_cut
    found.editable = not is_cut and text.translate(_BREAKS).isprintable() and text[0] != "\n"
    return found


def _read_text(content: bytes, *, is_cut: bool) -> str | None:
    """Return bytes as text; None when they are none."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        if not is_cut or error.start < len(content) - 3:
            return None
        text = content[: error.start].decode()
    if "\0" in text:
        return None
    odd = sum(each < " " and each not in "\n\r\t\x1b" for each in text)
    return text if odd * 20 <= len(text) else None


def _show_hex(content: bytes, size: int) -> Preview:
    lines = []
    for start in range(0, min(len(content), HEX_BYTES), ROW_BYTES):
        row = content[start : start + ROW_BYTES]
        shown = "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        lines.append(f"{start:08x}  {row.hex(' '):<{ROW_BYTES * 3}} {shown}")
    return Preview("hex", text="\n".join(lines), is_cut=size > HEX_BYTES)


def _show_json(text: str) -> Preview | None:
    if text.lstrip()[:1] not in {"{", "["}:
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    if _count_nodes(value, NODES_MAX, DEPTH_MAX) >= 0:
        return Preview("json", tree=value)
    return Preview("json", pretty=msgspec.json.format(text, indent=2))


def _count_nodes(value: Any, most: int, depth: int) -> int:
    """Return how many more nodes there may be; less than 0: there are too many, or they are too deep."""
    if not depth:
        return -1
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    most -= 1
    for each in parts:
        if most < 0:
            break
        most = _count_nodes(each, most, depth - 1)
    return most


def _show_table(text: str, name: str) -> Preview | None:
    """Return a text as a table, if its first lines have the same number of cells."""
    lines = text.splitlines()[: TABLE_ROWS + 2]
    for mark in ",;\t":
        if mark not in lines[0]:
            continue
        try:
            rows = [
                row for row in csv.reader(io.StringIO("\n".join(lines[: TABLE_ROWS + 1])), delimiter=mark) if row
            ]
        except csv.Error:
            continue
        widths = {len(row) for row in rows}
        is_told = name.lower().endswith((".csv", ".tsv"))
        if len(rows) > 1 and min(widths) > 1 and (len(widths) == 1 or is_told):
            is_cut = len(lines) > TABLE_ROWS + 1 or max(widths) > TABLE_COLUMNS
            cells = [[cell[:CELL_CHARS] for cell in row[:TABLE_COLUMNS]] for row in rows[: TABLE_ROWS + 1]]
            return Preview("table", rows=cells, is_cut=is_cut)
    return None
