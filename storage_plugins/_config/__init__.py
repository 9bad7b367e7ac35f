"""``storage.yaml``: found, read, checked; its JSON Schema."""
