"""Files and texts that forms bring: stored as blobs."""

from collections.abc import Iterator

from flask import request
from werkzeug.datastructures import FileStorage

from piecework.protocol.ids import Id
from piecework.server.pages.page import value
from piecework.server.services import Services
from piecework.server.web.uploads import CHUNK_BYTES


def take_input(services: Services) -> int | None:
    """Store what a form says that the input is, and return its blob; 0: none; None: as it was."""
    match value("input_is"):
        case "file":
            file = request.files.get("file")
            return None if file is None or not file.filename else store_file(services, file)
        case "text":
            text = request.form.get("input", "").replace("\r\n", "\n").encode()
            return services.data.receive([text]).id
        case "none":
            return 0
    return None


def store_file(services: Services, file: FileStorage) -> Id:
    """Store a file of a form under its name."""
    name = file.filename or ""
    return Id(services.data.receive(_read(file), lambda: name).id)


def _read(file: FileStorage) -> Iterator[bytes]:
    while chunk := file.stream.read(CHUNK_BYTES):
        yield chunk
