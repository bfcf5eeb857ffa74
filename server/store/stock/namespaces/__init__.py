"""Rows of namespaces and their entries."""
