"""Calls in Python sources and the values of their arguments, found without running or importing anything.

What is understood: literals; names that are set once; f-strings and ``+``; dicts, lists and what is taken out
of them; loops and comprehensions over those; lambdas and ``functools.partial``; imports from neighbouring
sources; and functions, methods and classes whose calls are in the sources read: their arguments are followed.
Everything else is `NotKnown`, with the reason in words. Depth, size and the number of steps are bounded.
"""

from .parsed import NotKnown
from .reading import FoundCall, Unread, find_calls

__all__ = ["FoundCall", "NotKnown", "Unread", "find_calls"]
