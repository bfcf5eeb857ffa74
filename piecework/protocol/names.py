"""Names of modules, functions and lambdas, and how a request names one: ``org/module/tag``, ``upper@ID``."""

import re
from typing import NamedTuple, Self

from piecework.protocol.ids import Id

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
NAME_RULE = "a name has 1 to 100 of the characters A-Z a-z 0-9 . _ -"
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


def is_name(text: str) -> bool:
    """Tell whether something can be called so. A path component that a program would resolve is no name."""
    return bool(NAME.fullmatch(text)) and text not in {".", ".."}


class ModuleName(NamedTuple):
    """What a module is called in the registry."""

    org: str
    module: str
    tag: str
    digest: str = ""
    """SHA-256 that it must have, 64 hex digits in lower case; "": whichever is under the tag."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``org/module/tag`` or ``org/module/tag@sha256:HEX``. Raises ValueError."""
        name, pinned, digest = text.partition("@sha256:")
        parts = name.split("/")
        if len(parts) != 3 or not all(map(is_name, parts)):
            raise ValueError(f"{text[:300]!r} is not ORG/MODULE/TAG; each of them: {NAME_RULE}")
        if pinned and not _DIGEST.fullmatch(digest):
            raise ValueError(f"the digest in {text[:400]!r} is not 64 hex digits")
        org, module, tag = parts
        return cls(org, module, tag, digest.lower())

    @property
    def path(self) -> str:
        """The name without the digest."""
        return f"{self.org}/{self.module}/{self.tag}"

    @property
    def file(self) -> str:
        """What its download is called."""
        return f"{self.module}.wasm"

    def __str__(self) -> str:
        return f"{self.path}@sha256:{self.digest}" if self.digest else self.path


LAMBDA_NAME_RULE = "a lambda's name has 1 to 100 of the characters A-Z a-z 0-9 . _ -, and is no number"
LambdaRef = str | int
"""How a request names a lambda: by its id, by its name (of several the newest is meant), or as ``name@id``."""


def is_lambda_name(text: str) -> bool:
    """Tell whether a new lambda can be called so. A number would be taken for an id."""
    return is_name(text) and not text.isdecimal()


class LambdaName(NamedTuple):
    """A lambda that is named otherwise than by its id alone."""

    name: str
    id: Id | None = None
    """The lambda of that name that is meant; None: the newest."""

    @classmethod
    def parse(cls, ref: LambdaRef) -> "Id | LambdaName":
        """Read how a request names a lambda. Raises ValueError.

        Names from before there was a rule may be any text, and are found as well.
        """
        if not isinstance(ref, str) or ref.strip().isdecimal() or not ref:
            return Id.parse(ref)
        name, pinned, id_ = ref.rpartition("@")
        if pinned and name and id_.isascii() and id_.isdecimal():
            return cls(name, Id.parse(id_))
        return cls(ref)

    def __str__(self) -> str:
        return self.name if self.id is None else f"{self.name}@{self.id}"
