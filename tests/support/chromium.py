"""A real browser for tests of the console: Debian's Chromium, driven by Playwright; axe-core looks for barriers.

`python tests/support/chromium.py` installs both where they are missing and that can be done; `make test` does so.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "build" / "browser"
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
MISSING = "chromium is not here: install Debian's package of that name (make browser does, for root)"
NO_AXE = "axe-core is not here: make browser installs it where there is npm"


def find_chromium() -> str | None:
    """Return where the browser is; None when there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start the browser, without a window. Raises LookupError when there is none."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        raise LookupError(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def install() -> list[str]:
    """Install what is missing, and return what cannot be installed here."""
    if find_chromium() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], check=False)
    if not AXE.exists() and shutil.which("npm"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--silent", "--no-save", "--no-package-lock", "axe-core@4"], cwd=FOLDER, check=False
        )
    return [text for text, is_there in ((MISSING, find_chromium()), (NO_AXE, AXE.exists())) if not is_there]


if __name__ == "__main__":
    for line in install():
        sys.stdout.write(f"{line}: tests of the console in a browser are left out\n")
