"""What clients of older systems send and read, translated at the door."""
