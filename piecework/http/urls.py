"""URLs and tokens of servers, as somebody wrote them. The way there is found in ``routes``, which is larger."""

from collections.abc import Sequence
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def check_url(url: str) -> str:
    """Return the server's base URL without a slash at its end.

    Raises ValueError when it is not an http or https URL with a host.
    """
    text = url.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        read_host_and_port(text)
    except ValueError:  # a bad port, bad brackets, or a name that DNS cannot have
        parts = urlsplit("")
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not the URL of a server; one looks like http://127.0.0.1:8000")
    if "@" in parts.netloc:
        raise ValueError("the URL of a server has no user and no password; give a token instead")
    return text


def read_urls(given: str | Sequence[str]) -> list[str]:
    """Return the base URLs of servers, of a list or of a text with commas between them. Raises ValueError."""
    texts = given.split(",") if isinstance(given, str) else given
    found = list(dict.fromkeys(check_url(each) for each in texts))
    if not found:
        raise ValueError("no URL of a server was given")
    return found


def check_token(token: str) -> str:
    """Return an access token as it is. Raises ValueError for one that cannot be sent, without showing it."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("the token has a space, a line break or another character that is in no token")
    return token


def read_host_and_port(url: str) -> tuple[str, int]:
    """Return where a URL points. Raises ValueError."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" not in host:
        host = host.encode("idna").decode()
    return host, parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
