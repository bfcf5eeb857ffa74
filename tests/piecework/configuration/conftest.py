from pathlib import Path
from types import SimpleNamespace

import pytest

from piecework.configuration import places


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Places for the file of a system and of a user, and the environment of one who has these alone."""
    system, user = tmp_path / "etc" / "piecework.toml", tmp_path / "home" / "piecework" / "piecework.toml"
    for path in (system, user):
        path.parent.mkdir(parents=True)
    monkeypatch.setattr(places, "SYSTEM", system)

    def write(path: Path, text: str) -> Path:
        path.write_text(text)
        path.chmod(0o600)
        return path

    return SimpleNamespace(
        system=system, user=user, write=write, environ={"XDG_CONFIG_HOME": str(tmp_path / "home")}
    )
