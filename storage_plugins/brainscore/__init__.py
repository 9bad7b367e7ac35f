"""Brain-Score's own loading and uploading functions, over the stores of ``storage.yaml``.

They take the same arguments as the functions of BrainIO and of ``brainscore_language.utils.s3``. After `install`,
``brainscore_core``, ``brainscore_language`` and ``brainscore_vision`` read and write through the stores, with no change
to them or to any plugin. Importing this package, and `install`, are fast, so that both can be in ``sitecustomize``.
"""

from typing import TYPE_CHECKING

from .._lazy_names import names_from
from ._install import install, uninstall

if TYPE_CHECKING:
    from ._assemblies import load_assembly_from_s3, load_from_s3, upload_data_assembly
    from ._files import fetch_file, upload_to_s3
    from ._stimulus_sets import load_stimulus_set_from_s3

__all__ = [
    "fetch_file",
    "install",
    "load_assembly_from_s3",
    "load_from_s3",
    "load_stimulus_set_from_s3",
    "uninstall",
    "upload_data_assembly",
    "upload_to_s3",
]

__getattr__ = names_from(
    __name__,
    {
        "fetch_file": "_files",
        "load_assembly_from_s3": "_assemblies",
        "load_from_s3": "_assemblies",
        "load_stimulus_set_from_s3": "_stimulus_sets",
        "upload_data_assembly": "_assemblies",
        "upload_to_s3": "_files",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
