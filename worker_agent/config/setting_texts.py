"""How the texts of variables and files become settings. Each raises ValueError for what it cannot read."""

MIB = 1024 * 1024


def read_list(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (item.strip() for item in text.split(","))))


def read_flag(text: str) -> bool:
    flags = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in flags:
        raise ValueError(text)
    return flags[text.lower()]


def read_mb(text: str) -> int:
    return int(text) * MIB
