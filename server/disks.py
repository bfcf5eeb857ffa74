"""What kind of disk a folder is on."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = re.compile(r"9p|afs|ceph|cifs|drvfs|fuse\.(?:glusterfs|s3fs|sshfs)|lustre|nfs\d?|smb\d?|virtiofs|vboxsf")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def find_network_disk(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the kind of file system that a folder is on when it is another machine's, as ``proc(5)`` names it.

    Windows is another machine, too, for what runs in WSL. None: it is this machine's, or nothing tells.
    """
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    folder, longest, kind = folder.resolve(), -1, ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        place = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields.split()[4]))
        if folder.is_relative_to(place) and len(place.parts) >= longest:  # the last one hides those before
            longest, kind = len(place.parts), rest.split()[0]
    return kind if NETWORK.fullmatch(kind) else None


def describe_risk(kind: str) -> str:
    """Say what is wrong with SQLite's files on such a disk, and what to do."""
    return (
        f"the data directory is on another machine ({kind}), where SQLite may lose what it acknowledged: "
        "put it on a disk of this one, or keep the data in PostgreSQL"
    )
