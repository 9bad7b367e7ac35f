"""The test-kit: subclass `BackendTests`, give it a `Host`, and pytest says whether a backend keeps its promises.

Needs pytest and Hypothesis: ``pip install 'storage-plugins[testing]'``. The guide is ``docs/test-kit.md``.
"""

from typing import TYPE_CHECKING

import pytest

from .._lazy_names import names_from

if TYPE_CHECKING:
    from .faults import Call, Fault, FaultyFiles
    from .hosts import Host
    from .lab import Lab
    from .sources import Crash, CrashingSource
    from .suite import BackendTests, StoreTests
    from .trouble import UnversionedTests

__all__ = [
    "BackendTests",
    "Call",
    "Crash",
    "CrashingSource",
    "Fault",
    "FaultyFiles",
    "Host",
    "Lab",
    "StoreTests",
    "UnversionedTests",
]

# so that a failed assertion shows its values
_WITH_TESTS = ("base", "every_store", "histories", "integrity", "lab", "names", "trouble", "versions")
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _WITH_TESTS))

# Loaded at their first use: child processes need none of the tests.
__getattr__ = names_from(
    __name__,
    {
        "BackendTests": "suite",
        "Call": "faults",
        "Crash": "sources",
        "CrashingSource": "sources",
        "Fault": "faults",
        "FaultyFiles": "faults",
        "Host": "hosts",
        "Lab": "lab",
        "StoreTests": "suite",
        "UnversionedTests": "trouble",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
