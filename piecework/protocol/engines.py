"""Engines: what makes machine code of modules. A guest does the same under each; only the first is quick."""

from typing import Literal, get_args

Engine = Literal["cranelift", "cranelift-none", "pulley"]
"""An optimising compiler, the same one without optimising, or an interpreter of its own bytecode."""
ENGINES: tuple[Engine, ...] = get_args(Engine)
