"""Replicas of functions on this node: the server's orders, processes, their supervision."""
