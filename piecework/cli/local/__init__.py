"""Commands that need no server of somebody else."""
