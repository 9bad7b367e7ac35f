"""``storage.yaml``: found, trusted, read, checked; its JSON Schema."""
