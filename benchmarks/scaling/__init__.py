"""How figures grow with depth, agents, slots and sizes: one module for each, with ``measure`` and ``table``."""
