"""The rule for keys of values."""

from piecework.protocol.text import find_fault

KEY_CHARS = 512
KEY_RULE = f"a key has 1 to {KEY_CHARS} characters, and is neither . nor .."


def find_key_fault(key: str) -> str | None:
    """Say why no value can have this key; None when one can.

    Most clients, and proxies, read ``..`` in a path as the folder above: ``DELETE`` would hit more than it names.
    """
    if not 0 < len(key) <= KEY_CHARS or key in {".", ".."}:
        return f"{key[:100]!r} is no key: {KEY_RULE}"
    return find_fault({"key": key})
