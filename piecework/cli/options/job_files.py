"""Options for files that jobs get in a directory of their own, and give back."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import rich_click as click

from piecework.protocol.job_files import FILES_MAX, PATH_RULE, is_path, is_pattern

HERE = {"", "."}
"""Names of a directory whose files come to stand at the top."""


class GivenFileType(click.ParamType[Any]):
    """``NAME=PATH``, or a path whose last part is the name; of a directory all files in it."""

    name = "name=path"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[str, Path], ...]:
        if isinstance(value, tuple):
            return value
        named, equals, text = str(value).partition("=")
        path = Path(text if equals else value)
        name = named.strip("/") if equals else path.name
        if not path.exists():
            self.fail(f"{str(path)!r} does not exist.", param, ctx)
        files = tuple(_list_files(path, name)) if path.is_dir() else ((name, path),)
        if not files:
            self.fail(f"there are no files in {str(path)!r}.", param, ctx)
        for each, _ in files:
            if not is_path(each):
                self.fail(f"{each!r} is no name of a job's file: {PATH_RULE}.", param, ctx)
        return files


class PatternType(click.ParamType[Any]):
    """A pattern of files that a job gives back."""

    name = "pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not is_pattern(text):
            self.fail(f"{text!r} is no pattern: {PATH_RULE}.", param, ctx)
        return text


FILE_OPTION = click.option(
    "--file",
    "given_files",
    multiple=True,
    metavar="[NAME=]PATH",
    type=GivenFileType(),
    help="Give it this file, or the files of this directory, in its own directory.",
)
COLLECT_OPTION = click.option(
    "--collect",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    type=PatternType(),
    help="Have it give back files that fit: '*.o', 'build/**'.",
)
INTO_OPTION = click.option(
    "--into",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Wait, and write the files that it gives back to this directory.",
)


def read_files(given: Sequence[tuple[tuple[str, Path], ...]]) -> dict[str, Path]:
    """Return the files of a job by their names. Raises click.UsageError for equal names, and too many files."""
    files: dict[str, Path] = {}
    for name, path in (file for each in given for file in each):
        if name in files:
            raise click.UsageError(f"--file names {name!r} twice: {files[name]} and {path}.")
        files[name] = path
        if len(files) > FILES_MAX:
            raise click.UsageError(f"--file names more than {FILES_MAX} files: an archive as --input has room.")
    return files


def _list_files(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder; one whose name is not ``name`` itself is below that."""
    top = "" if name in HERE else f"{name}/"
    for where, folders, names in os.walk(folder):
        folders.sort()
        for each in sorted(names):
            path = Path(where, each)
            yield f"{top}{path.relative_to(folder).as_posix()}", path
