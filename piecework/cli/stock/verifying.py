"""How commands say who must agree on results."""

from typing import Any

import msgspec
import rich_click as click
from msgspec import UNSET, UnsetType

from piecework.protocol.messages import Verify


class VerifyType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """How many must agree on a result: a number of owners, or a share of results as ``5%``."""

    name = "verify"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Verify:
        if isinstance(value, Verify):
            return value
        try:
            share = {"sample": float(value[:-1]) / 100} if value.endswith("%") else {"quorum": int(value)}
            return msgspec.convert(share, Verify)
        except (ValueError, msgspec.ValidationError):
            self.fail(f"{value!r} is neither a number of owners from 2 to 7 nor a share such as 5%.", param, ctx)


VERIFY = VerifyType()


def read_verify(verify: Verify | None, *, diverse: bool) -> Verify | UnsetType:
    """Return the rule that options say. Raises click.UsageError for --diverse alone."""
    if verify is None:
        if diverse:
            raise click.UsageError("--diverse goes with --verify.")
        return UNSET
    return msgspec.structs.replace(verify, diverse=diverse)


def describe_verify(verify: Verify | None) -> str | None:
    """Return a rule in words."""
    if verify is None:
        return None
    also = ", one with another engine" if verify.diverse else ""
    if verify.quorum is not None:
        return f"of {verify.quorum} owners{also}"
    return f"of 2 owners, and on {(verify.sample or 0) * 100:g} % of what owners give who are believed{also}"
