"""Functions: deploying them, their routes."""
