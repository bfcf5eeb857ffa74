"""Limits by key."""
