"""The two classes to subclass: for a backend of files, and for one with a store of its own."""

from ._elsewhere import ElsewhereTests
from ._every_store import EveryStore
from ._histories import HistoryTests
from ._integrity import IntegrityTests
from ._names import NameTests
from ._plain import PlainStoreTests
from ._rights import RightsTests
from ._simultaneous import SimultaneousTests
from ._trouble import PublishingTests, TroubleTests, UnversionedTests
from ._versions import VersionTests


class StoreTests(PlainStoreTests, EveryStore):
    """The tests of a backend that registers with ``store=`` and has its own ``upload`` and ``load``.

    Give the subclass a name that begins with ``Test``, and a fixture ``host`` that returns a `Host`.
    """


class BackendTests(
    HistoryTests,  # pytest begins with the last one, so that an author first sees the simple tests
    EveryStore,
    SimultaneousTests,
    ElsewhereTests,
    PublishingTests,
    RightsTests,
    TroubleTests,
    UnversionedTests,
    NameTests,
    VersionTests,
    IntegrityTests,
):
    """The tests of a backend that registers with ``files=`` and has its own `FileOperations`.

    Give the subclass a name that begins with ``Test``, and a fixture ``host`` that returns a `Host`. It may change
    these attributes.

    Attributes:
        listing, history: number of files and versions in the longest lists.
        large, huge, memory: sizes of large files, and the memory that the transfer of a huge one may use, in bytes.
        examples, steps, shortest: how many histories Hypothesis generates, how many steps each has, and whether
            a failing one is made as short as possible.
    """
