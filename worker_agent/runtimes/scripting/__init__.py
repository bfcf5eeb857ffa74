"""Runtimes whose code is a script, and the interpreters that run it."""
