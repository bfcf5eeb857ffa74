"""The extras of the distribution, and the one way in which all commands say that one of them is missing."""

from importlib.util import find_spec

SERVER, WORKER, POSTGRES, S3, SCRIPTS, OTEL = "server", "worker", "postgres", "s3", "scripts", "otel"
LIBRARIES = {
    "alembic": (SERVER,),
    "botocore": (S3,),
    "cronsim": (SERVER,),
    "flask": (SERVER, WORKER),
    "granian": (SERVER, WORKER),
    "prometheus_client": (SERVER,),
    "opentelemetry": (OTEL,),
    "psycopg": (POSTGRES,),
    "psycopg_pool": (POSTGRES,),
    "sqlalchemy": (SERVER,),
    "standardwebhooks": (SERVER,),
    "structlog": (SERVER, WORKER),
    "tzdata": (SERVER,),
    "uvloop": (WORKER,),
    "waitress": (WORKER,),
    "wasmtime": (WORKER,),
    "yaml": (SERVER,),
}
"""Which extras bring a library."""
UNIX = {"fcntl", "grp", "pwd", "resource", "termios"}
"""Modules of Python that are missing on Windows."""


def require(library: str) -> None:
    """Raise ModuleNotFoundError for a library that is not installed, without importing one that is."""
    if find_spec(library) is None:
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)


def how_to_install(extra: str) -> str:
    """Say how an extra is installed."""
    return f"run pip install 'piecework[{extra}]'"


def describe_missing(error: ModuleNotFoundError, program: str = "") -> str | None:
    """Say what to do about a library that an extra brings, or that Windows lacks; None for another: that is a bug.

    ``program`` is the extra of what was to run: it is named where several bring the library.
    """
    if error.name in UNIX:
        return "this needs Linux; on Windows, install Piecework in WSL 2 and run it there"
    extras = LIBRARIES.get((error.name or "").partition(".")[0])
    if extras is None:
        return None
    return f"{error.name} is not installed: {how_to_install(program if program in extras else extras[0])}"
