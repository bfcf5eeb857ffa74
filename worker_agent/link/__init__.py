"""How an agent talks to its server: membership, state on disk, waiting for its return, threads that loop."""
