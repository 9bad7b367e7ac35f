"""The self-test of a configured store."""
