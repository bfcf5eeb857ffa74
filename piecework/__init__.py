"""Piecework: run WebAssembly functions as jobs on any number of nodes."""

__version__ = "0.1.0"
