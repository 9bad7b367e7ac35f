"""Copying all of a store into another one."""
