"""What the author of a backend writes, how it is found, and `Host`, the only way to its operations."""
