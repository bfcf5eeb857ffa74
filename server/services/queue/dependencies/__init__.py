"""Jobs that wait for others, and what they get of them."""
