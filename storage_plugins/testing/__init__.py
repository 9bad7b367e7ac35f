"""The test-kit: subclass `BackendTests`, give it a `Host`, and pytest shows whether a backend does what it must.

Needs pytest and Hypothesis: ``pip install 'storage-plugins[testing]'``. The guide is ``docs/test-kit.md``.
"""

from typing import TYPE_CHECKING

import pytest

from .._lazy_names import names_from

if TYPE_CHECKING:
    from ._faults import Call, Fault, FaultyFiles
    from ._hosts import Host
    from ._lab import Lab
    from ._sources import Crash, CrashingSource
    from ._suite import BackendTests, StoreTests
    from ._trouble import UnversionedTests

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
_WITH_TESTS = (
    "_base",
    "_elsewhere",
    "_every_store",
    "_histories",
    "_integrity",
    "_lab",
    "_names",
    "_plain",
    "_rights",
    "_simultaneous",
    "_trouble",
    "_versions",
)
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _WITH_TESTS))

# Loaded at first use: child processes do not need the tests.
__getattr__ = names_from(
    __name__,
    {
        "BackendTests": "_suite",
        "Call": "_faults",
        "Crash": "_sources",
        "CrashingSource": "_sources",
        "Fault": "_faults",
        "FaultyFiles": "_faults",
        "Host": "_hosts",
        "Lab": "_lab",
        "StoreTests": "_suite",
        "UnversionedTests": "_trouble",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
