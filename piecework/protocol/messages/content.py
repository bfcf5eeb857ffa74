"""Bytes that travel inside a message instead of through an upload or download of their own."""

import base64
from typing import Any, ClassVar, Self

import msgspec
from msgspec import UNSET

from piecework.protocol.ids import NO_ID, Id
from piecework.protocol.messages.base import Maybe, Shown

JobRef = str | int
"""How a submission names a job: by id, or as ``@0``, ``@1``, … or ``@label`` when it is in the same submission."""


class Content(Shown, msgspec.Struct, kw_only=True):
    """Bytes inside a message, in exactly one of four spellings; or a blob that is there already.

    ``bytes`` is for MessagePack (in JSON it is base64, like ``base64``).
    """

    free_texts: ClassVar = ("text", "json")
    """Fields with texts that the rule of ``piecework.protocol.text`` is not about: they are bytes, spelled so."""

    id: Maybe[Id] = UNSET
    """The blob's id."""
    name: Maybe[str] = UNSET
    """What the file was called that the bytes are from."""
    text: Maybe[str] = UNSET
    """UTF-8 text."""
    base64_: Maybe[str] = msgspec.field(default=UNSET, name="base64")
    """Any bytes, standard base64."""
    json_: Any = msgspec.field(default=UNSET, name="json")
    """A JSON value; its compact text is the content."""
    raw: Maybe[bytes] = msgspec.field(default=UNSET, name="bytes")
    """Any bytes."""
    job: Maybe[JobRef] = UNSET
    """Instead of bytes, in the input or a file of a new job: what this job produces; the new one waits for it."""
    file: Maybe[str] = UNSET
    """With ``job``, in a file of a new job: of the files that this job gives back the one of this name."""

    @property
    def is_inline(self) -> bool:
        return not (self.raw is UNSET and self.text is UNSET and self.base64_ is UNSET and self.json_ is UNSET)

    def read(self) -> bytes:
        """Return the bytes. Raises ValueError unless exactly one spelling is there and it is sound."""
        spellings = (self.raw, self.text, self.base64_, self.json_)
        if spellings.count(UNSET) != len(spellings) - 1:
            raise ValueError("inline content has exactly one of: text, base64, json, bytes")
        if isinstance(self.raw, bytes):
            return self.raw
        if isinstance(self.text, str):
            return self.text.encode()
        if isinstance(self.base64_, str):
            try:
                return base64.b64decode(self.base64_, validate=True)
            except ValueError as error:  # binascii.Error is one, and so is the one for letters beyond ASCII
                raise ValueError(f"base64 content is broken: {error}") from error
        try:
            return msgspec.json.encode(self.json_)
        except TypeError as error:  # MessagePack has values that JSON has not
            raise ValueError(f"json content is no JSON value: {error}") from error

    @classmethod
    def of(cls, data: bytes, *, packed: bool, blob: Maybe[Id] = UNSET) -> Self:
        """Wrap bytes for sending: as ``bytes`` in MessagePack, in JSON as ``text`` when they are UTF-8."""
        if packed:
            return cls(id=blob, raw=data)
        try:
            return cls(id=blob, text=data.decode())
        except UnicodeDecodeError:
            return cls(id=blob, base64_=base64.b64encode(data).decode())


BlobRef = str | int | Content
"""How a request names a blob: by id, or by an object with the bytes themselves."""


def read_ref(ref: BlobRef | None) -> tuple[bytes | None, Id | None]:
    """Return the bytes that a reference holds, or else the id that it names, or two times None.

    Raises ValueError when the content is not sound, or the id is not a number.
    """
    if isinstance(ref, Content) and (ref.id is UNSET or ref.is_inline):
        return ref.read(), None
    return None, blob_id(ref)


def blob_id(ref: BlobRef | None) -> Id | None:
    """Return the id that a reference names; None when it holds bytes, or names none (id 0).

    Raises ValueError for an id that is not a number.
    """
    if ref is None:
        return None
    if isinstance(ref, Content):
        number = NO_ID if isinstance(ref.id, msgspec.UnsetType) else ref.id
    else:
        number = Id.parse(ref)
    return number or None
