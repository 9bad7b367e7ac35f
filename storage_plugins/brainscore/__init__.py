"""Brain-Score's own functions over the stores of ``storage.yaml``.

Drop-in: they take what those of BrainIO and of ``brainscore_language.utils.s3`` take. After `install` the unmodified
``brainscore_core``, ``brainscore_language`` and ``brainscore_vision`` read and write through the stores, with no
change to any plugin. Importing this module, and `install`, are light: they are meant for ``sitecustomize``.
"""

from typing import TYPE_CHECKING

from .._lazy_names import names_from
from .switch import install, uninstall

if TYPE_CHECKING:
    from .assemblies import load_assembly_from_s3, load_from_s3, upload_data_assembly
    from .stimuli import load_stimulus_set_from_s3
    from .transport import fetch_file, upload_to_s3

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
        "fetch_file": "transport",
        "load_assembly_from_s3": "assemblies",
        "load_from_s3": "assemblies",
        "load_stimulus_set_from_s3": "stimuli",
        "upload_data_assembly": "assemblies",
        "upload_to_s3": "transport",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
