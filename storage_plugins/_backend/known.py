"""Packages of known backends, so that an error can name what is to be installed. ``docs/backends.md`` lists them."""

from __future__ import annotations

PACKAGES = {
    # name of the backend, and scheme of its URIs: what contains it
    "s3": "storage-plugins[s3]",
    "osf": "storage-plugins[osf]",
    "fsspec": "storage-plugins[fsspec]",
    "webdav": "storage-plugins-webdav",
    "postgres": "storage-plugins-postgres",
}


def how_to_install(name: str) -> str | None:
    """Return a hint that names the package of the backend, or of the URIs, of this name; None if it is not known."""
    package = PACKAGES.get(name)
    return package and f"Install the package {package}. The page 'Backends' of the documentation says where it is."
