"""How a lambda is granted a namespace: ``ID``, ``ID:rw`` or ``NAME=ID:rw``."""

import re
from typing import NamedTuple, Self

from piecework.protocol.ids import Id

KV_GRANT_RULE = (
    "a namespace as `ID` or, to write there too, `ID:rw`; with `NAME=` before it guests call it so, and a name "
    "has 1 to 100 of the characters A-Z a-z 0-9 . _ -, and is no number"
)
_GRANT = re.compile(r"(?:(?P<name>(?![0-9]+=)[A-Za-z0-9._-]{1,100})=)?(?P<id>[0-9]{1,19})(?::(?P<mode>ro|rw))?")


class KvGrant(NamedTuple):
    """A namespace that a lambda may use."""

    name: str
    """What its guests call it: the id in digits when no name was given."""
    namespace: Id
    write: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a grant. Raises ValueError, saying what one is."""
        found = _GRANT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text[:300]!r} must be {KV_GRANT_RULE}")
        namespace = Id.parse(found["id"])
        return cls(found["name"] or str(namespace), namespace, found["mode"] == "rw")

    @classmethod
    def is_one(cls, text: str) -> bool:
        """Tell whether a text is a grant."""
        try:
            cls.parse(text)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        name = "" if self.name == str(self.namespace) else f"{self.name}="
        return f"{name}{self.namespace}{':rw' if self.write else ''}"
