"""What one server process answers: everything, or one part of the control server that runs alone."""

from dataclasses import dataclass

from flask import current_app

COMMON_ROOMS = ("ping", "healthz", "readyz", "metrics", "openapi.json", "docs")
"""What every part answers, beside its own."""


@dataclass(frozen=True)
class Part:
    """Some of the endpoints. A room is the first word of their paths."""

    name: str
    """What the program is called."""
    rooms: tuple[str, ...] = ()
    """Those that it answers; none: all that there are."""
    home: str = ""
    """The room that it serves at /, too, as if its name were not there."""

    def has(self, path: str) -> bool:
        """Tell whether the endpoint at this path belongs to the part."""
        return not self.rooms or path.split("/")[1] in (*self.rooms, *COMMON_ROOMS)

    def place(self, path: str) -> str:
        """Return where the part serves what the whole server serves at ``path``."""
        home = f"/{self.home}/"
        return path[len(home) - 1 :] if self.home and path.startswith(home) else path


WHOLE = Part("server")
"""The control server."""
REGISTRY = Part("registry", ("registry",), home="registry")
"""Named and tagged modules, on Capsule's paths."""

PROXY = Part("proxy", ("functions", "memory", "routes"))
"""Routes to functions, on Capsule's paths."""


def current_part() -> Part:
    """Return the part that the app is which answers this request."""
    part: Part = current_app.extensions["piecework-part"]
    return part
