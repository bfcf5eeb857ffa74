"""References to modules in OCI registries: ``oci://HOST[:PORT]/NAME[:TAG][@sha256:HEX]``."""

import re
from typing import NamedTuple, Self

from piecework.http.urls import read_host_and_port

SCHEME = "oci://"
LATEST = "latest"
"""The tag that is meant when there is neither a tag nor a digest."""
NAME_MAX = 255
DOCKER_HUB = "index.docker.io"
"""The name under which login data of Docker Hub are kept."""
_DOCKER_HUB_NAMES = frozenset({"docker.io", DOCKER_HUB, "registry-1.docker.io"})
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FORM = "oci://HOST[:PORT]/NAME[:TAG][@sha256:HEX]"


class Reference(NamedTuple):
    """What a module is called in an OCI registry."""

    host: str
    """With its port, if it has one."""
    name: str
    """Of the repository."""
    tag: str = ""
    digest: str = ""
    """SHA-256 of the manifest, 64 hex digits in lower case; "": whichever is under the tag."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference. Without a tag and a digest, the tag is ``latest``. Raises ValueError."""
        place = text.removeprefix(SCHEME)
        host, slash, rest = place.partition("/")
        if "@" in host:
            raise ValueError("a reference to a registry has no user and no password: log in with 'docker login'")
        if not text.startswith(SCHEME) or not slash or not _is_host(host):
            raise ValueError(f"{text[:300]!r} is not {_FORM}")
        name_and_tag, pinned, digest = rest.partition("@sha256:")
        name, tagged, tag = name_and_tag.partition(":")
        if len(name) > NAME_MAX or not _NAME.fullmatch(name):
            raise ValueError(
                f"{name[:300]!r} is no name in an OCI registry: words of a-z and 0-9, joined by one . _ or -, "
                f"with / between them, {NAME_MAX} characters at most"
            )
        if tagged and not _TAG.fullmatch(tag):
            raise ValueError(f"{tag[:300]!r} is no tag: it has 1 to 128 of the characters A-Z a-z 0-9 . _ -")
        if pinned and not _DIGEST.fullmatch(digest.lower()):
            raise ValueError(f"the digest in {text[:400]!r} is not 64 hex digits")
        return cls(host.lower(), name, tag or ("" if pinned else LATEST), digest.lower())

    @property
    def server(self) -> str:
        """Host and port that answer for it: those of Docker Hub are called otherwise."""
        return "registry-1.docker.io" if self.host in _DOCKER_HUB_NAMES else self.host

    @property
    def repository(self) -> str:
        """The name as the server has it."""
        return f"library/{self.name}" if self.host in _DOCKER_HUB_NAMES and "/" not in self.name else self.name

    @property
    def login(self) -> str:
        """The name of the registry under which Docker keeps login data for it."""
        return DOCKER_HUB if self.host in _DOCKER_HUB_NAMES else self.host

    @property
    def wanted(self) -> str:
        """What to ask for: the digest, or else the tag."""
        return f"sha256:{self.digest}" if self.digest else self.tag

    @property
    def file(self) -> str:
        """What its download is called."""
        return f"{self.name.rpartition('/')[2]}.wasm"

    def pin(self, digest: str) -> Self:
        """Return the reference to what has this digest, with the tag that it was found under."""
        return self._replace(digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@sha256:{self.digest}" if self.digest else ""
        return f"{SCHEME}{self.host}/{self.name}{tag}{digest}"


def _is_host(text: str) -> bool:
    try:
        return bool(_HOST.fullmatch(text)) and bool(read_host_and_port(f"https://{text}")[0])
    except ValueError:
        return False
