"""What decides which job is leased next, and who has it."""
