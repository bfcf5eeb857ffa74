"""The four generations of Capsule's interface: what differs between them, and nothing else."""

from dataclasses import dataclass

OLD_SEPARATOR, SEPARATOR, INNER_SEPARATOR = "°", "²", "³"


@dataclass(frozen=True, slots=True)
class Generation:
    """How texts and HTTP requests are put for a guest, and how its answers are marked."""

    version: str
    """The last version of Capsule that had it."""
    arguments: str
    """Between the arguments of a text call, and between keys that the host lists."""
    http_handler: str = "callHandleHttp"
    passes: tuple[str, ...] = ()
    """The parts of an HTTP request that the handler takes; none: it takes a number, and asks for the request."""
    headers_in: str = SEPARATOR
    """Between the headers of a request."""
    headers_out: str = SEPARATOR
    """Between the headers of a response, and those of a request that the guest sends."""
    lettered: bool = False
    """Results and answers begin with S or F, and requests are JSON. Else errors are marked with [ERR]."""


GENERATIONS = {
    1: Generation("0.1.8", OLD_SEPARATOR, passes=("body", "headers"), headers_in="|", headers_out="|"),
    2: Generation("0.2.8", SEPARATOR, passes=("body", "uri", "headers", "method")),
    3: Generation("0.3.3", SEPARATOR, headers_in=INNER_SEPARATOR),
    4: Generation("0.3.6", " ", http_handler="callHandleHTTP", passes=("json",), lettered=True),
}
"""By the number that ``find_generation`` gives."""
