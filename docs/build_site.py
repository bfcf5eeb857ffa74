"""Build the documents as a site: ``make site``, or ``python docs/build_site.py [FOLDER]``.

Each version has a folder of its own in FOLDER (build/site), with a page that lists them; building one leaves the
others as they are. Sphinx reads a copy of the documents in which what they link to lies where the links say, and
stops at a link that leads nowhere. Nothing of a page comes from elsewhere.
"""  # noqa: INP001  # a script, not a package

import re
import shutil
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

from build_tables import ROOT, find_documents
from sphinx.cmd.build import build_main

from piecework import __version__

SETTINGS = ROOT / "docs" / "site"
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
VERSION = re.compile(r"\d+\.\d+")
HOME = "README"
VERSIONS = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Piecework: all versions</title></head>
<body>
<h1>Piecework</h1>
<p>The documents of each version:</p>
<ul>
{items}
</ul>
</body>
</html>
"""

SECTIONS = {
    "Start": ["docs/first-hour", "docs/recipes"],
    "How to": [
        "docs/guests",
        "docs/functions",
        "docs/schedules",
        "docs/limits",
        "docs/events",
        "docs/webhooks",
        "docs/console",
        "docs/operations",
        "docs/containers",
        "docs/platforms",
    ],
    "Reference": ["docs/cli", "docs/python", "docs/protocol", "samples/README", "docs/glossary", "CHANGELOG"],
    "Explanation": [
        "docs/queue",
        "docs/guarantees",
        "docs/trust",
        "docs/receipts",
        "docs/security",
        "docs/threats",
        "docs/performance",
        "docs/scale",
        "docs/architecture",
        "docs/releases",
        "CONTRIBUTING",
        "SECURITY",
    ],
}
"""Every document but the first one, by what it is for."""


class SiteError(Exception):
    """The site cannot be built."""


def find_version() -> str:
    """Return the version whose documents these are, without what only mends something."""
    found = VERSION.match(__version__)
    assert found
    return found[0]


def write_sections() -> str:
    """Return the list of all pages, as the first one has it."""
    parts = [
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"])
        for caption, pages in SECTIONS.items()
    ]
    return "\n\n".join(parts)


def find_linked(documents: Iterable[Path]) -> set[Path]:
    """Return documents and all files of the project that they, and documents among those, link to or show."""
    found, ahead = set(), list(documents)
    while ahead:
        path = ahead.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == ".md":
            targets = LINK.findall(FENCE.sub("", path.read_text()))
            ahead += [(path.parent / target).resolve() for target in targets if "://" not in target]
    return found


def copy_documents(source: Path) -> None:
    """Fill a folder with the documents and all that they link to, each where it lies in the project."""
    for path in find_linked(find_documents()):
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    with (source / f"{HOME}.md").open("a") as home:
        home.write(f"\n{write_sections()}\n")


def build(site: Path, source: Path) -> Path:
    """Build the site of this version. Returns its folder. Raises SiteError when something is wrong."""
    target = site / find_version()
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    copy_documents(source)
    shutil.rmtree(target, ignore_errors=True)
    options = ["--quiet", "--fail-on-warning", "--keep-going", "-d", str(source / ".cache"), "-c", str(SETTINGS)]
    place = f"Documents of version {find_version()}"
    version = ["-D", f"release={find_version()}", "-D", f"html_theme_options.announcement={place}"]
    with warnings.catch_warnings(action="ignore"):  # of Python code; those of documents it logs
        failed = build_main([*options, *version, str(source), str(target)])
    if failed:
        raise SiteError("the site was not built: see the lines above")
    shutil.copyfile(target / f"{HOME}.html", target / "index.html")
    (site / "index.html").write_text(list_versions(site))
    return target


def list_versions(site: Path) -> str:
    """Return the page of all versions that are there, the newest first."""
    found = [each.name for each in site.iterdir() if each.is_dir() and VERSION.fullmatch(each.name)]
    newest_first = sorted(found, key=lambda name: [int(part) for part in name.split(".")], reverse=True)
    items = "\n".join(f'<li><a href="{name}/index.html">{name}</a></li>' for name in newest_first)
    return VERSIONS.format(items=items)


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"
    place.mkdir(parents=True, exist_ok=True)
    try:
        print(f"The site is in {build(place, ROOT / 'build' / 'site-source')}")  # noqa: T201
    except SiteError as error:
        sys.exit(str(error))
