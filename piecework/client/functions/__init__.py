"""The client's calls about functions."""
