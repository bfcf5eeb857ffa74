"""Calls about jobs."""
