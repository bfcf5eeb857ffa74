"""Values that no list shows."""

import re
from collections.abc import Mapping

MASK = "***"
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|PWD|KEY|CREDENTIAL", re.IGNORECASE)


def mask_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """Return variables with ``***`` for the value of each whose name looks like that of a secret."""
    return {name: MASK if looks_secret(name) else value for name, value in env.items()}


def looks_secret(name: str) -> bool:
    """Tell whether what has this name looks like a secret."""
    return bool(_SECRET.search(name))
