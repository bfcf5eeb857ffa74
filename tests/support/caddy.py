"""A real Caddy, the web server, from the Python package that carries its binary."""

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patience import until

CADDY = Path(sysconfig.get_path("scripts")) / "caddy"


class Caddy:
    """A Caddy that is configured through a socket of its own, and keeps nothing outside of its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._admin = {"listen": f"unix/{folder / 'admin'}"}
        places = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        self._environ = os.environ | dict.fromkeys(places, str(folder))
        self._log = (folder / "caddy.log").open("wb")
        command = [CADDY, "run", "--config", self._write(b"{}")]
        self._process = subprocess.Popen(command, env=self._environ, stdout=self._log, stderr=self._log)

    def wait_until_ready(self) -> None:
        until((self._folder / "admin").exists)

    def load(self, config: bytes, form: str) -> None:
        """Use a configuration from now on: ``json`` or ``caddyfile``."""
        if form == "caddyfile":
            (self._folder / "Caddyfile").write_bytes(config)
            config = self._ask("adapt", "--config", self._folder / "Caddyfile", "--adapter", "caddyfile")
        self._ask("reload", "--config", self._write(config), "--address", self._admin["listen"])

    def read_log(self) -> str:
        return (self._folder / "caddy.log").read_text()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()

    def _write(self, config: bytes) -> Path:
        """Write a configuration, with the socket for the next one, into a file."""
        path = self._folder / "config.json"
        path.write_text(json.dumps(json.loads(config) | {"admin": self._admin}))
        return path

    def _ask(self, *words: object) -> bytes:
        command = [CADDY, *map(str, words)]
        ran = subprocess.run(command, env=self._environ, capture_output=True, timeout=30, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


@contextmanager
def run_caddy(folder: Path) -> Iterator[Caddy]:
    folder.mkdir()
    caddy = Caddy(folder)
    try:
        caddy.wait_until_ready()
        yield caddy
    finally:
        caddy.close()
