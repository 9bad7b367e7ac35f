"""The two classes to subclass: for a backend of files, and for one that brings a store of its own."""

from ._every_store import EveryStore
from ._histories import HistoryTests
from ._integrity import IntegrityTests
from ._names import NameTests
from ._trouble import PublishingTests, TroubleTests, UnversionedTests
from ._versions import VersionTests


class StoreTests(EveryStore):
    """The tests of a backend that registers with ``store=``: ``upload`` and ``load`` of its own.

    Subclass it under a name that begins with ``Test``, and give it a fixture ``host`` that returns a `Host`.
    """


class BackendTests(
    VersionTests,
    NameTests,
    IntegrityTests,
    TroubleTests,
    UnversionedTests,
    PublishingTests,
    EveryStore,
    HistoryTests,
):
    """The tests of a backend that registers with ``files=``: a `FileOperations` of its own.

    Subclass it under a name that begins with ``Test``, and give it a fixture ``host`` that returns a `Host`.

    Attributes that a subclass may change:
        listing, history: files and versions in the longest lists.
        large, huge, memory: bytes of large files, and of memory that the transfer of a huge one may take.
        examples, steps, shortest: how many histories Hypothesis makes up, of how many steps, and whether one that
            went wrong is made as short as it can be.
    """
