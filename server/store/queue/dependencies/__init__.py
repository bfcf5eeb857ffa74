"""Rows of what belongs together."""
