"""Shares as people write them: ``5%``."""

import math
from typing import Any

import click


def parse_share(text: str) -> float:
    """Return a share from above 0 to 1. Raises ValueError for what is no percentage."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / 100 if number != text.strip() else math.nan
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is no share: write it as 5% or 100%")
    return share


class ShareType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A percentage above 0."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_share(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


SHARE = ShareType()
