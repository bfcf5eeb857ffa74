"""The agent's loop: contract, prepare, execute, finish, heartbeat, drain; one concern per file."""
