"""What people hand in as a job's input, and how it travels."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from msgspec import UNSET

from piecework.client.queue.jobs.handles import JobHandle
from piecework.client.uploads import Source
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, DataReply
from piecework.protocol.text import clean_text

INLINE_BYTES = 32 * 1024
"""An input up to this size travels inside the submission; a larger one is uploaded first."""

Input = Any
"""A job's input: None for none, bytes, text, a file's path, the id of a blob, or any JSON value.

An ``Id`` or the reply of an upload names a blob, and a ``Job`` stands for what it produces. A plain ``int`` or
``str`` is a value: the number, the text.
"""


async def input_content(value: Input, upload: Callable[[Source, str], Awaitable[DataReply]]) -> Content | None:
    """Turn an input into what the submission carries, by ``upload`` when it is large; None for no input."""
    if isinstance(value, JobHandle):
        value = output_of(value)
    if value is None or isinstance(value, Content):
        return value
    if isinstance(value, DataReply | Id):
        return Content(id=value if isinstance(value, Id) else value.id)
    if isinstance(value, Path):
        name = clean_text(value.name) if value.is_file() else ""
        # How much comes out of a pipe is not known before.
        if not name or value.stat().st_size > INLINE_BYTES:
            return Content(id=(await upload(value, name)).id)
        return Content(raw=value.read_bytes(), name=name)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return Content(raw=data) if len(data) <= INLINE_BYTES else Content(id=(await upload(data, "")).id)
    return Content(json_=value)


async def file_content(value: Input, upload: Callable[[Source, str], Awaitable[DataReply]]) -> Content:
    """Turn what is in a file of a job into what the submission carries; None is an empty file."""
    return await input_content(b"" if value is None else value, upload) or Content(raw=b"")


def output_of(job: Id | str, file: str | None = None) -> Content:
    """Return as input or file what another job produces, or the results of a group: the new job waits for that.

    ``job``: an id; or, within one submission, ``@0``, ``@1``, … or ``@label``. ``file``, for files alone: of those
    that the other job gives back the one of this name.
    """
    return Content(job=str(job), file=UNSET if file is None else file)


def carried_bytes(content: Content | None) -> int:
    """Return about how many bytes an input adds to a body."""
    return len(content.read()) if content is not None and content.is_inline else 0
