"""The agent's settings, and where they come from."""
