"""Does what a curl command in somebody's documentation says, so that tests can replay it as it stands there."""

import re
import shlex
from pathlib import Path

import requests

TIMEOUT_S = 60.0
_HEREDOC = re.compile(r"<<\s*(\w+)\n(.*?)\n\1\s*$", re.DOTALL)
_WITH_VALUE = {"-X", "-H", "-d", "--data-binary", "-F"}
_SILENT = {"-v", "-s", "-L"}


def curl(command: str, folder: Path, ports: dict[int, int]) -> requests.Response:
    """Send the request of a command. Files are in ``folder``; ports of localhost are replaced."""
    given = _HEREDOC.search(command)
    words = shlex.split(_HEREDOC.sub("", command).replace("\\\n", " "))
    assert words.pop(0) == "curl"
    options, url = _parse(words)
    headers = dict(header.split(":", 1) for header in options["-H"])
    # As curl does: an empty header is none, and a form's own type, with its boundary, wins.
    headers = {name: value.strip() for name, value in headers.items() if value.strip() and not options["-F"]}
    data = (options["-d"] or options["--data-binary"] or [None])[0]
    if data == "@-":
        data = given[2]
    parts = [_read_part(part, folder) for part in options["-F"]]
    method = (options["-X"] or ["POST" if data or parts else "GET"])[0]
    body = None if data is None else data.encode()
    return requests.request(method, _move(url, ports), headers=headers, data=body, files=parts, timeout=TIMEOUT_S)


def _parse(words: list[str]) -> tuple[dict[str, list[str]], str]:
    options: dict[str, list[str]] = {name: [] for name in _WITH_VALUE}
    urls = []
    rest = iter(words)
    for word in rest:
        if word in _WITH_VALUE:
            options[word].append(next(rest))
        elif word not in _SILENT:
            assert not word.startswith("-"), f"what does {word} mean?"
            urls.append(word)
    (url,) = urls
    return options, url


def _read_part(part: str, folder: Path) -> tuple[str, tuple[str | None, bytes | str]]:
    name, _, value = part.partition("=")
    if not value.startswith("@"):
        return name, (None, value)
    path = folder / Path(value[1:]).name
    return name, (path.name, path.read_bytes())


def _move(url: str, ports: dict[int, int]) -> str:
    return re.sub(r"localhost(?::(\d+))?", lambda found: f"127.0.0.1:{ports[int(found[1] or 80)]}", url, count=1)
