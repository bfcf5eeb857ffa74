"""Fields that a message does not have: ignored in the shape of v0.5, refused beside extensions."""

import re
from difflib import get_close_matches
from typing import TypeVar

import msgspec

from piecework.protocol.bodies import MessageError, decode
from piecework.protocol.messages import Content, JobSpec, JobSubmit, LambdaCreate, Maybe, Message

MessageT = TypeVar("MessageT", bound=Message)
_UNKNOWN = re.compile(r"unknown field `(.*)`", re.DOTALL)
NEAR = 0.8
"""How like an extension's name a field must be to count as a misspelled one, whatever else the request has."""
OLD = {
    JobSpec: frozenset({"lambda", "functio", "input", "input_id", "tags", "extra_tag", "status"}),
    LambdaCreate: frozenset({"codex", "code_id", "runtime"}),
}
"""The fields of v0.5. All others are extensions."""
OLD_WORDS = frozenset({"timeout"})
"""What clients of v0.5 may send with no thought of the extension whose name is like it."""


class _StrictSpec(JobSpec, kw_only=True, forbid_unknown_fields=True):
    pass


class _StrictSubmit(JobSubmit, kw_only=True, forbid_unknown_fields=True):
    jobs: Maybe[list[_StrictSpec]] = msgspec.UNSET  # type: ignore[assignment]  # what is in it is one, too


class _StrictLambda(LambdaCreate, kw_only=True, forbid_unknown_fields=True):
    pass


STRICT: dict[type[Message], type[Message]] = {JobSubmit: _StrictSubmit, LambdaCreate: _StrictLambda}


def decode_knowing(body: bytes, type_: type[MessageT], media_type: str | None) -> MessageT:
    """Read a message. Raises as ``decode`` does, and MessageError for an unknown field of an extended request."""
    if type_ not in STRICT:
        return decode(body, type_, media_type)
    try:
        return decode(body, STRICT[type_], media_type)  # type: ignore[return-value]  # it is a kind of it
    except MessageError as error:
        found = _UNKNOWN.search(str(error))
        if found is None:
            raise
        message = decode(body, type_, media_type)
        known = type_.__struct_encode_fields__
        near = get_close_matches(found[1], [each for each in known if each not in _old(type_)], 1, NEAR)
        if not _is_extended(message) and (not near or found[1] in OLD_WORDS):
            return message
        hint = get_close_matches(found[1], known, 1)
        meant = f"did you mean `{hint[0]}`?" if hint else "the page of the protocol lists those that there are"
        raise MessageError(f"there is no field `{found[1][:100]}`: {meant}") from error


def _old(type_: type[Message]) -> frozenset[str]:
    return next(fields for base, fields in OLD.items() if issubclass(type_, base))


def _is_extended(message: Message) -> bool:
    """Tell whether a request uses a field that v0.5 has not, or an input that came along."""
    old = _old(type(message))
    for field in msgspec.structs.fields(message):
        value = getattr(message, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if isinstance(value, Content) or (field.encode_name not in old and value != default):
            return True
    return False
