"""Replays: a run again from what its receipt names, with nothing granted, and the two compared."""
