"""How much is in the queue, and what became of it."""
