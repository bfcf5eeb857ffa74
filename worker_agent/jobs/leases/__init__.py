"""Which jobs the agent holds, how many it asks for, and outcomes on their way to the server."""
