"""Comparing stores with receipts, and with each other: what is there, and whether it is whole."""
