"""Capsule's API of a node: deploying functions on it, announcing them at a reverse proxy."""
