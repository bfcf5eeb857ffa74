"""What a command reads and writes, and how it ends."""
