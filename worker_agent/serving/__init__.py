"""Serving one function over HTTP."""
