"""Stores: uploading, loading, publishing, groups, and how they are opened."""
