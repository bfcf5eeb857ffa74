"""What a soak is made of: its world, its work, its faults, its samples, and the verdict on them."""
