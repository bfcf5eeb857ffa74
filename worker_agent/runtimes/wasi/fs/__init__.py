"""What a guest can open."""
