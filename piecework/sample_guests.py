"""The sample guests that come with the package: what there is, and copies of them to work with."""

import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from piecework.files import naming

FOLDER = Path(__file__).parent / "samples"
SOURCES = (".c", ".rs", ".ts")
"""How sources of wasm files end."""
SCRIPTS = (".js", ".lua", ".py")
"""How those end that need no building."""
_BLOCK = re.compile(r'/\*(.+?)\*/|"""(.+?)"""', re.DOTALL)
_LINES = re.compile(r"((?://!?|--).*\n)+")
_MARGIN = re.compile(r"^[ \t]*(?:\*|//!?|--)?[ \t]*|\n", re.MULTILINE)
_INCLUDED = re.compile(r'^#include "(.+)"|^import .* from "\./(.+)"', re.MULTILINE)


class UnknownSample(ValueError):
    """There is no sample of this name; the message says where to look."""


@dataclass(frozen=True)
class Sample:
    """A guest that runs as it is, with what it is made of."""

    name: str
    """Such as ``uppercase``, ``rust/uppercase`` or ``scripts/json_sum.lua``."""
    code: Path
    source: Path
    """The same file for a script."""
    meaning: str
    """What it does, in one sentence."""

    @property
    def files(self) -> list[Path]:
        """The code, its source, and the files that this includes; below FOLDER."""
        found, left = {self.code: None}, [self.source]
        while left:
            path = left.pop()
            found[path] = None
            if path.suffix in SOURCES:
                named = (header or f"{module}.ts" for header, module in _INCLUDED.findall(path.read_text()))
                left += [path.parent / each for each in named if path.parent / each not in found]
        return list(found)


def find_samples() -> list[Sample]:
    """Return the samples by their names, those in C first."""
    built = [path.with_suffix(end) for path in FOLDER.glob("**/*.wasm") for end in SOURCES]
    sources = [path for path in built if path.is_file()]
    sources += [path for path in FOLDER.glob("scripts/*") if path.suffix in SCRIPTS]
    return sorted(map(_describe, sources), key=lambda sample: (sample.name.count("/"), sample.name))


def get_samples(names: Iterable[str]) -> list[Sample]:
    """Return the samples of these names, which may end in ``.wasm``. Raises UnknownSample."""
    known = {sample.name: sample for sample in find_samples()}
    wanted = [name.removesuffix(".wasm") for name in names]
    for name in wanted:
        if name not in known:
            raise UnknownSample(f"there is no sample {name!r}: 'piecework samples' lists them")
    return [known[name] for name in wanted]


def copy_samples(samples: Iterable[Sample], folder: Path, *, replace: bool = False) -> list[Path]:
    """Write the files of samples below a folder, which is made, and return them; those alike stay as they are.

    Raises FileExistsError, before anything is written, when one is there with other content, unless ``replace``.
    """
    files = dict.fromkeys(file for sample in samples for file in sample.files)
    contents = {folder / file.relative_to(FOLDER): file.read_bytes() for file in files}
    new = {path: content for path, content in contents.items() if not _is_there(path, content, replace=replace)}
    for path, content in new.items():
        _write(path, content)
    return list(contents)


def _is_there(path: Path, content: bytes, *, replace: bool) -> bool:
    if not path.exists():
        return False
    alike = path.is_file() and path.read_bytes() == content
    if not alike and (path.is_dir() or not replace):
        raise FileExistsError(17, "is there already with other content", str(path))
    return alike


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
        try:
            part.write(content)
            part.flush()
            Path(part.name).chmod(0o644)
            os.replace(part.name, path)  # noqa: PTH105  # as short
        except BaseException:
            Path(part.name).unlink()
            raise


def _describe(source: Path) -> Sample:
    code = source if source.suffix in SCRIPTS else source.with_suffix(".wasm")
    path = code.relative_to(FOLDER).as_posix()
    name = path.removesuffix(".wasm")
    return Sample(name, code, source, describe(source.read_text()).removeprefix(f"{name}: "))


def describe(text: str) -> str:
    """Return the first sentence of the comment with which a source begins."""
    comment = _BLOCK.match(text) or _LINES.match(text)
    if comment is None:
        return ""
    lines = (comment[comment.lastindex or 0] if comment.re is _BLOCK else comment[0]).splitlines()
    words = " ".join(_MARGIN.sub("", line).strip() for line in lines).strip()
    return re.split(r"(?<=\.) ", words)[0]
