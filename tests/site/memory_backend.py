"""The files in memory as a backend, laid out here as an installer would."""

from memory_files import MemoryFiles

import storage_plugins

PLACES: dict[str, MemoryFiles] = {}


class MemorySettings(storage_plugins.StoreSettings):
    place: str


def files(settings: MemorySettings) -> MemoryFiles:
    return PLACES.setdefault(settings.place, MemoryFiles(f"memory:{settings.place}"))


@storage_plugins.hookimpl
def storage_plugins_backend() -> storage_plugins.Backend:
    return storage_plugins.Backend(name="memory", settings=MemorySettings, files=files)
