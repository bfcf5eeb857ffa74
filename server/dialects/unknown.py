"""Fields that a request has and its message has not: found, also in its parts, and told with the nearest name.

Strict are the messages of people and their programs: what is misspelled there would be left undone in silence.
What workers say is not among them, for agents and servers of different versions work together.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Any, NamedTuple, TypeVar, Union, cast, get_args, get_origin

import msgspec

from piecework.protocol.bodies import MessageError, decode
from piecework.protocol.messages import (
    Backoff,
    Content,
    DefaultPut,
    DeploymentPut,
    DeploymentScale,
    Grants,
    HoldPut,
    JobBulk,
    JobEdit,
    JobSelection,
    JobSpec,
    Limits,
    Message,
    ScheduleCreate,
    ScheduleRun,
    ScheduleUpdate,
    SplitPut,
)

MessageT = TypeVar("MessageT", bound=Message)

EXTENDED: frozenset[type[Message]] = frozenset(
    {
        DeploymentPut,
        DeploymentScale,
        DefaultPut,
        SplitPut,
        ScheduleCreate,
        ScheduleUpdate,
        ScheduleRun,
        JobBulk,
        HoldPut,
    }
)
"""Messages that no client of an older system sends."""
PARTS = (Limits, Backoff, Grants, Content, JobSelection, JobEdit)
"""What is in messages of people; none of it is of v0.5."""
_FAULT = re.compile(r"unknown field `(.*?)`(?: - at `\$([^`]*)`)?\Z", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)(?:\[[^\]]*\])*")
"""A field, and which item of it: a number, or three dots for that of any name."""


class Unknown(NamedTuple):
    """A field that there is not."""

    name: str
    where: str
    """The place of the object that has it, as ``jobs[...].limits``; "" for the message itself."""


def find_unknown(error: MessageError) -> Unknown | None:
    """Return the field that an error is about; None when it is about something else."""
    found = _FAULT.search(str(error))
    return None if found is None else Unknown(found[1], (found[2] or "").removeprefix("."))


def read_strictly(body: bytes, type_: type[MessageT], media_type: str | None) -> MessageT:
    """Read a message that has no unknown field, in none of its parts. Raises as ``decode`` does."""
    try:
        message: MessageT = decode(body, make_strict(type_), media_type)
    except MessageError as error:
        unknown = find_unknown(error)
        if unknown is None:
            raise
        raise MessageError(describe(unknown, type_)) from error
    return loosen_parts(message)


def describe(unknown: Unknown, type_: type[Message]) -> str:
    """Say that a field is not there, and which may be meant."""
    hint = get_close_matches(unknown.name, _list_fields(type_, unknown.where), 1)
    meant = f"did you mean `{hint[0]}`?" if hint else "the page of the protocol lists those that there are"
    where = f" in `{unknown.where}`" if unknown.where else ""
    return f"there is no field `{unknown.name[:100]}`{where}: {meant}"


def _list_fields(type_: Any, where: str) -> tuple[str, ...]:
    """Return the names of the fields that an object has in some place of a message."""
    for step in _STEP.findall(f".{where}" if where else ""):
        named = {each.encode_name: each.type for each in msgspec.structs.fields(type_)}
        type_ = next(_walk_structs(named[step]))
    return cast("tuple[str, ...]", type_.__struct_encode_fields__)


def _walk_structs(type_: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        yield type_
    for each in get_args(type_):
        yield from _walk_structs(each)


@cache
def make_strict(type_: type[MessageT]) -> type[MessageT]:
    """Return the kind of a message that is not read from a body with other fields, nor are its parts."""
    made: Any = msgspec.defstruct(
        type_.__name__, strict_fields(type_), bases=(type_,), kw_only=True, forbid_unknown_fields=True
    )
    return cast("type[MessageT]", made)


def strict_fields(type_: type[msgspec.Struct]) -> list[tuple[str, Any, Any]]:
    """Return those fields of a message that have parts, with the strict kinds of these in their types."""
    return [
        (each.name, strict, _like(each))
        for each in msgspec.structs.fields(type_)
        if (strict := make_strict(JobSpec) if each.type is JobSpec else _swap(each.type)) is not each.type
    ]


def _like(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory, name=field.encode_name)
    return msgspec.field(default=field.default, name=field.encode_name)


def _swap(type_: Any) -> Any:
    """Return a type with the strict kinds of parts in the place of these; the same one when it has none."""
    if type_ in _STRICT:
        return _STRICT[type_]
    swapped = tuple(map(_swap, get_args(type_)))
    if all(new is old for new, old in zip(swapped, get_args(type_), strict=True)):
        return type_
    origin = get_origin(type_)
    return reduce(or_, swapped) if origin in {Union, UnionType} else origin[swapped]


_STRICT: Mapping[Any, type[msgspec.Struct]] = {
    each: msgspec.defstruct(
        each.__name__, [], bases=(each,), kw_only=True, forbid_unknown_fields=True,
        frozen=each.__struct_config__.frozen,
    )
    for each in PARTS
}  # fmt: skip
_LOOSE = {strict: loose for loose, strict in _STRICT.items() if loose is not Content}
"""Those that are compared with others."""


def loosen_parts(message: MessageT) -> MessageT:
    """Put parts of their own kinds in the place of strict ones, which equal none."""
    for name in _list_parts(type(message)):
        value = getattr(message, name)
        if isinstance(value, JobSpec):
            loosen_parts(value)
        loose = _LOOSE.get(type(value))
        if loose is not None:
            setattr(message, name, loose(**msgspec.structs.asdict(value)))
    return message


@cache
def _list_parts(type_: type[Message]) -> tuple[str, ...]:
    return tuple(
        each.name
        for each in msgspec.structs.fields(type_)
        if not _LOOSE.keys().isdisjoint(_walk_structs(each.type))
    )
