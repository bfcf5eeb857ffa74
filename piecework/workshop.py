"""Writing functions: new ones from templates, built by the line that their sources have."""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from string import Template

TEMPLATES = Path(__file__).parent / "templates" / "new"
ENDINGS = {"c": ".c", "go": ".go", "rust": ".rs", "js": ".js", "python": ".py", "lua": ".lua"}
"""Languages that there are templates for, and how their sources end."""
INTERFACE = "http.wit"
"""What a component that answers HTTP imports and exports."""
HTTP_FILES = {"c": (), "js": (INTERFACE,), "python": (INTERFACE,)}
"""Languages that there are templates of HTTP functions for, and what these need beside their source."""
READY = (".wasm", ".js", ".mjs", ".lua", ".py")
"""What runs as it is."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
BUILD_LINE = re.compile(r"^\W*build:\s*(.+?)\s*(?:\*/)?\s*$", re.MULTILINE)
LOOK_CHARS = 2000
"""A build line is within so many characters of the start."""


class WorkshopError(Exception):
    """A function cannot be made or built; the message says why."""


class BuildFailed(WorkshopError):
    """The compiler refused the source; the message has what it said."""


def create(language: str, name: str, folder: Path, *, http: bool = False) -> list[Path]:
    """Make a folder for a new function, with its source and a test, in ``folder``; return its files.

    The source is the first of them. With ``http`` the function answers HTTP requests, in a language of HTTP_FILES.
    Nothing is written when that is not possible. Raises WorkshopError.
    """
    if http and language not in HTTP_FILES:
        raise WorkshopError(f"there is no start of an HTTP function in {language}, but in {', '.join(HTTP_FILES)}")
    if not NAME.fullmatch(name):
        raise WorkshopError(f"{name!r} is no name: it begins with a letter, then come letters, digits, _ and -")
    target = folder / name
    if target.exists():
        raise WorkshopError(f"there is {target} already")
    file = f"{name.replace('-', '_') if language == 'python' else name}{ENDINGS[language]}"
    kind = ".http.txt" if http else ".txt"
    texts = {file: f"{language}{kind}", f"test_{name.replace('-', '_')}.py": f"test{kind}"}
    texts |= {each: each for each in HTTP_FILES[language]} if http else {}
    part = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
    try:
        for written, template in texts.items():
            text = Template((TEMPLATES / template).read_text())
            (part / written).write_text(text.substitute(name=name, file=file, stem=Path(file).stem))
        part.chmod(0o755)
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return [target / written for written in texts]


def find_build_line(source: Path) -> str | None:
    """Return the command that builds a source, which is run in its folder: None when it runs as it is.

    It stands behind ``build:`` in a comment at its beginning. Raises WorkshopError for a source that needs one and
    has none.
    """
    text = "" if source.suffix == ".wasm" else source.read_text(errors="replace")[:LOOK_CHARS]
    found = BUILD_LINE.search(text)
    if found:
        return found[1]
    if source.suffix in READY:
        return None
    raise WorkshopError(
        f"{source.name} does not say how it is built: begin it with a comment that has 'build: COMMAND', "
        f"where COMMAND makes {source.stem}.wasm"
    )


def build(source: Path, command: str | None = None) -> Path:
    """Build a source by its build line, or another command, and return what runs.

    Raises WorkshopError when it has none, and BuildFailed.
    """
    line = command or find_build_line(source)
    if line is None:
        return source
    built = source.with_suffix(".wasm").absolute()
    # The interpreter that runs has the compiler of ``python -m ziglang``.
    line = re.sub(r"^python(?= -m )", lambda _: shlex.quote(sys.executable), line)
    ran = subprocess.run(  # noqa: S602  # the command is that of the user's own source
        line, shell=True, cwd=source.absolute().parent, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    said = (ran.stdout + ran.stderr).decode(errors="replace").strip()
    if ran.returncode:
        raise BuildFailed(f"{said}\n{line} ended with exit code {ran.returncode}".strip())
    if not built.exists():
        raise BuildFailed(f"{line} made no {built.name}")
    return built
