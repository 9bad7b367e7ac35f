"""A static site of a store or of the receipts."""
